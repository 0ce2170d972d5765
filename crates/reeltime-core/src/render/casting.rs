//! Who is heard on which channels of a mix, and how loud.

use super::lane::Route;
use super::plan::{Arrangement, MixError, Sides, TrackInput};
use super::sides::seats;
use crate::time::Micros;

/// The largest gain of a track: 40 dB.
const MOST_GAIN: f32 = 100.0;

/// Who is heard, and where.
pub(super) struct Casting {
    /// By track; `None` where it is not heard.
    pub routes: Vec<Option<Vec<Route>>>,
    pub channels: usize,
    /// Each track's channels are heard as one.
    pub mono: bool,
}

impl Casting {
    pub(super) fn new(arrangement: &Arrangement, tracks: &[TrackInput]) -> Result<Self, MixError> {
        check(tracks)?;
        let mut order: Vec<usize> = (0..tracks.len()).collect();
        order.sort_by_key(|&number| (tracks[number].layout.start, number));
        let mut casting = Self { routes: vec![None; tracks.len()], channels: 1, mono: true };
        match arrangement {
            Arrangement::Mix => casting.each(tracks, &order, |_| vec![(0, 0, 1.0)]),
            Arrangement::Stereo(sides) => match tracks {
                [track] if track.decoder.channels() == 2 => casting.as_received(tracks, &order),
                _ => casting.seated(tracks, &order, sides),
            },
            Arrangement::Participant(name) => {
                order.retain(|&number| tracks[number].participant == *name);
                casting.as_received(tracks, &order);
            }
            Arrangement::Tracks => casting.side_by_side(tracks, &order),
        }
        match (casting.heard(), arrangement) {
            (0, Arrangement::Participant(name)) => Err(unknown(name, tracks)),
            _ if casting.channels > usize::from(u8::MAX) => Err(MixError::Channels(casting.channels)),
            _ => Ok(casting),
        }
    }

    pub(super) fn heard(&self) -> usize {
        self.routes.iter().flatten().count()
    }

    pub(super) fn first_start(&self, tracks: &[TrackInput]) -> Option<Micros> {
        tracks
            .iter()
            .zip(&self.routes)
            .filter(|(_, routes)| routes.is_some())
            .map(|(track, _)| track.layout.start)
            .min()
    }

    /// Gives each of the tracks in `order` its routes: from, to, gain before the track's own.
    fn each(
        &mut self,
        tracks: &[TrackInput],
        order: &[usize],
        mut routes: impl FnMut(&TrackInput) -> Vec<(usize, usize, f32)>,
    ) {
        for &number in order {
            let track = &tracks[number];
            let route = |(from, to, gain)| Route { from, to, gain: gain * track.gain };
            let routes = routes(track).into_iter().map(route).filter(|route| route.gain != 0.0);
            self.routes[number] = Some(routes.collect());
        }
    }

    fn seated(&mut self, tracks: &[TrackInput], order: &[usize], sides: &Sides) {
        let mut parties: Vec<&str> = Vec::new();
        for &number in order {
            if !parties.contains(&&*tracks[number].participant) {
                parties.push(&tracks[number].participant);
            }
        }
        let seats = seats(&parties, sides);
        self.channels = 2;
        self.each(tracks, order, |track| {
            let seat = parties.iter().position(|&party| party == track.participant);
            let (left, right) = seat.map_or((1.0, 0.0), |seat| seats[seat]);
            vec![(0, 0, left), (0, 1, right)]
        });
    }

    /// Channel to channel; a track of one channel among tracks of several is heard on all.
    fn as_received(&mut self, tracks: &[TrackInput], order: &[usize]) {
        self.channels = order.iter().map(|&number| channels(&tracks[number])).max().unwrap_or(1);
        self.mono = false;
        let all = self.channels;
        self.each(tracks, order, |track| match channels(track) {
            1 => (0..all).map(|to| (0, to, 1.0)).collect(),
            several => (0..several).map(|channel| (channel, channel, 1.0)).collect(),
        });
    }

    fn side_by_side(&mut self, tracks: &[TrackInput], order: &[usize]) {
        self.mono = false;
        let mut next = 0;
        self.each(tracks, order, |track| {
            let begin = next;
            next += channels(track);
            (0..channels(track)).map(|channel| (channel, begin + channel, 1.0)).collect()
        });
        self.channels = next;
    }
}

/// Where those are heard who join a mix that is being made.
pub(super) struct Latecomers {
    arrangement: Arrangement,
    parties: Vec<String>,
}

impl Latecomers {
    /// Of a mix of these tracks.
    pub(super) fn new(arrangement: Arrangement, tracks: &[TrackInput]) -> Self {
        let mut order: Vec<_> = tracks.iter().collect();
        order.sort_by_key(|track| track.layout.start);
        let mut late = Self { arrangement, parties: Vec::new() };
        order.into_iter().for_each(|track| late.meet(&track.participant));
        late
    }

    /// The routes of one more track, whose channels are heard as one; `None` where there is no place for it.
    pub(super) fn routes(&mut self, track: &TrackInput) -> Result<Option<Vec<Route>>, MixError> {
        check(std::slice::from_ref(track))?;
        self.meet(&track.participant);
        let places = match &self.arrangement {
            Arrangement::Mix => vec![(0, 1.0)],
            Arrangement::Stereo(sides) => {
                let parties: Vec<&str> = self.parties.iter().map(String::as_str).collect();
                let seat = parties.iter().position(|&party| party == track.participant);
                let (left, right) = seat.map_or((1.0, 0.0), |seat| seats(&parties, sides)[seat]);
                vec![(0, left), (1, right)]
            }
            Arrangement::Participant(_) | Arrangement::Tracks => return Ok(None),
        };
        let route = |(to, gain)| Route { from: 0, to, gain: gain * track.gain };
        Ok(Some(places.into_iter().map(route).filter(|route| route.gain != 0.0).collect()))
    }

    fn meet(&mut self, participant: &str) {
        if !self.parties.iter().any(|party| party == participant) {
            self.parties.push(participant.to_owned());
        }
    }
}

fn channels(track: &TrackInput) -> usize {
    usize::from(track.decoder.channels().max(1))
}

fn check(tracks: &[TrackInput]) -> Result<(), MixError> {
    if tracks.is_empty() {
        return Err(MixError::NoTracks);
    }
    for track in tracks {
        if !(0.0..=MOST_GAIN).contains(&track.gain) {
            return Err(MixError::Gain(track.gain));
        }
        if track.decoder.rate() != track.format.rate {
            return Err(MixError::Decoder { decoder: track.decoder.rate(), track: track.format.rate });
        }
    }
    Ok(())
}

fn unknown(asked: &str, tracks: &[TrackInput]) -> MixError {
    let mut known: Vec<_> = tracks.iter().map(|track| track.participant.clone()).collect();
    known.sort();
    known.dedup();
    MixError::Participant { asked: asked.to_owned(), known }
}
