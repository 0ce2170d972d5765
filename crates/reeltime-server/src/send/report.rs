//! What was sent and what it became: for people, and as JSON.

use std::collections::BTreeSet;
use std::fmt;

use anyhow::bail;
use serde_json::{Value, json};

use super::speaker::{Outcome, Stretch};
use crate::client::{Target, clock, printable};

/// All speakers of a call, at the end.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) target: Target,
    pub(super) call: Option<String>,
    pub(super) outcomes: Vec<Outcome>,
}

impl Report {
    /// One document.
    pub(super) fn json(&self) -> Value {
        json!({
            "server": self.target.to_string(),
            "call": self.call,
            "complete": self.outcomes.iter().all(|outcome| outcome.error.is_none()),
            "recordings": self.recordings(),
            "participants": self.outcomes.iter().map(participant).collect::<Vec<_>>(),
        })
    }

    /// Every recording that something went to, once.
    fn recordings(&self) -> Vec<&str> {
        let mut ids: Vec<&str> = Vec::new();
        for stretch in self.outcomes.iter().flat_map(|outcome| &outcome.speaker.stretches) {
            if !ids.contains(&stretch.session.recording.as_str()) {
                ids.push(&stretch.session.recording);
            }
        }
        ids
    }

    /// An error where not everything was recorded.
    pub(super) fn into_result(mut self) -> anyhow::Result<()> {
        let all = self.outcomes.len();
        let position = self.outcomes.iter().position(|outcome| outcome.error.is_some());
        let Some(error) = position.and_then(|at| self.outcomes[at].error.take()) else { return Ok(()) };
        let name = position.map(|at| printable(&self.outcomes[at].speaker.name, 40)).unwrap_or_default();
        let others = self.outcomes.iter().filter(|outcome| outcome.error.is_some()).count();
        match others {
            0 => bail!("{name} was not sent to the end: {error:#}"),
            _ => bail!("{} of {all} were not sent to the end; {name}: {error:#}", others + 1),
        }
    }
}

fn participant(outcome: &Outcome) -> Value {
    let speaker = &outcome.speaker;
    let format = speaker.input.format;
    let samples: u64 = speaker.stretches.iter().map(|stretch| stretch.samples).sum();
    json!({
        "participant": speaker.name,
        "file": speaker.file,
        "codec": format.codec.name(),
        "rate": format.rate,
        "channels": format.channels,
        "samples": samples,
        "seconds": samples as f64 / f64::from(format.rate),
        "reconnects": speaker.reconnects,
        "error": outcome.error.as_ref().map(|error| format!("{error:#}")),
        "parts": speaker.stretches.iter().map(part).collect::<Vec<_>>(),
    })
}

fn part(stretch: &Stretch) -> Value {
    json!({
        "recording_id": stretch.session.recording,
        "session_id": stretch.session.session,
        "track_id": stretch.session.track,
        "from_sample": stretch.from,
        "samples": stretch.samples,
    })
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for speaker in self.outcomes.iter().map(|outcome| &outcome.speaker) {
            for stretch in &speaker.stretches {
                let seconds = stretch.samples as f64 / f64::from(speaker.input.format.rate);
                let (name, id) = (printable(&speaker.name, 40), &stretch.session.recording);
                writeln!(f, "{name}: {} in recording {id}", clock(seconds))?;
            }
        }
        if self.outcomes.iter().all(|outcome| outcome.speaker.stretches.iter().all(|part| part.samples == 0))
        {
            return Ok(());
        }
        writeln!(f, "\nto hear it:")?;
        let stretches = self.outcomes.iter().flat_map(|outcome| &outcome.speaker.stretches);
        let heard = stretches.filter(|stretch| stretch.samples > 0);
        let recordings: BTreeSet<_> = heard.map(|stretch| &stretch.session.recording).collect();
        for id in recordings {
            writeln!(f, "  reeltime export {id} --to {} -o - | ffplay -", self.target)?;
        }
        Ok(())
    }
}
