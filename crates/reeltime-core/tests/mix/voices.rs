//! Speakers whose every sample is known, decoders and encoders that show what was asked of them, and a driver.

use reeltime_core::codec::{DecodeError, Decoder, EncodeError, Encoder};
use reeltime_core::log::{Counting, Event, PacketMeta};
use reeltime_core::media::{Codec, Format};
use reeltime_core::render::{Arrangement, Drift, MixError, Mixer, Need, Plan, TrackInput};
use reeltime_core::time::Micros;
use reeltime_core::timeline::{Layout, Survey};

pub(crate) enum Item {
    /// Its first sample and how many it has.
    Packet(PacketMeta, u64, u64),
    Event(Micros, Event),
}

/// What a speaker says: a sample by its number and channel.
pub(crate) type Signal = Box<dyn Fn(u64, usize) -> i16>;

pub(crate) struct Voice {
    pub(crate) participant: String,
    pub(crate) format: Format,
    pub(crate) counting: Counting,
    pub(crate) gain: f32,
    pub(crate) drift: Option<Drift>,
    pub(crate) items: Vec<Item>,
    pub(crate) signal: Signal,
    /// Where it is known that all samples are 0.
    pub(crate) silent: Option<Box<dyn Fn(u64, u64) -> bool>>,
    count: u64,
    sequence: u64,
}

impl Voice {
    pub(crate) fn new(participant: &str, rate: u32, signal: impl Fn(u64) -> i16 + 'static) -> Self {
        Self::with_channels(participant, rate, 1, move |sample, _| signal(sample))
    }

    pub(crate) fn with_channels(
        participant: &str,
        rate: u32,
        channels: u8,
        signal: impl Fn(u64, usize) -> i16 + 'static,
    ) -> Self {
        Self {
            participant: participant.to_owned(),
            format: Format::new(Codec::S16le, rate, channels).unwrap(),
            counting: Counting::Samples,
            gain: 1.0,
            drift: None,
            items: Vec::new(),
            signal: Box::new(signal),
            silent: None,
            count: 0,
            sequence: 0,
        }
    }

    /// Speaks from `start` on for `samples`, in packets of `packet`. A track begins when its first packet arrives.
    pub(crate) fn says(mut self, start: Micros, samples: u64, packet: u64) -> Self {
        let (end, from) = (self.count + samples, self.count);
        while self.count < end {
            let length = packet.min(end - self.count);
            let arrival = Micros(start.0 + Micros::from_samples(self.count - from, self.format.rate).0);
            self.packet(arrival, length);
        }
        self
    }

    /// One packet that arrives then.
    pub(crate) fn packet(&mut self, arrival: Micros, samples: u64) {
        let sequence = (self.counting == Counting::Timestamps).then_some(self.sequence);
        let meta = PacketMeta { arrival, timestamp: self.count, sequence };
        self.items.push(Item::Packet(meta, self.count, samples));
        self.count += samples;
        self.sequence += 1;
    }

    /// The packet after the last never comes.
    pub(crate) const fn loses(&mut self, samples: u64) {
        self.count += samples;
        self.sequence += 1;
    }

    /// The source counts on and sends nothing: no packet is missing.
    pub(crate) const fn silent_for(mut self, samples: u64) -> Self {
        self.count += samples;
        self
    }

    pub(crate) fn event(self, event: Event) -> Self {
        let arrival = self.items.iter().rev().find_map(|item| match item {
            Item::Packet(meta, ..) => Some(meta.arrival),
            Item::Event(..) => None,
        });
        self.event_at(arrival.unwrap_or_default(), event)
    }

    fn event_at(mut self, arrival: Micros, event: Event) -> Self {
        self.items.push(Item::Event(arrival, event));
        self
    }

    /// Counted and not recorded, which was noticed then.
    pub(crate) fn missing_at(
        mut self,
        arrival: Micros,
        samples: u64,
        reason: reeltime_core::log::GapReason,
    ) -> Self {
        let at = self.count;
        self.count += samples;
        self.event_at(arrival, Event::Gap { at, samples, reason })
    }

    /// Counted and not recorded.
    pub(crate) fn missing(self, samples: u64, reason: reeltime_core::log::GapReason) -> Self {
        let at = self.count;
        let mut voice = self.event(Event::Gap { at, samples, reason });
        voice.count += samples;
        voice
    }

    pub(crate) fn layout(&self) -> Layout {
        self.layout_of(self.items.len())
    }

    /// As it was when the log had so many items.
    pub(crate) fn layout_of(&self, items: usize) -> Layout {
        let mut survey = Survey::new(self.format, self.counting);
        for item in &self.items[..items] {
            match item {
                Item::Packet(meta, _, samples) => survey.packet(*meta, *samples),
                Item::Event(arrival, event) => survey.event(*arrival, event),
            }
        }
        survey.finish()
    }

    pub(crate) fn payload(&self, from: u64, samples: u64) -> Vec<u8> {
        let channels = usize::from(self.format.channels);
        if self.silent.as_ref().is_some_and(|silent| silent(from, samples)) {
            return vec![0; samples as usize * 2 * channels];
        }
        let frame = |at| (0..channels).flat_map(move |channel| (self.signal)(at, channel).to_le_bytes());
        (from..from + samples).flat_map(frame).collect()
    }

    pub(crate) fn input(&self, decoder: Box<dyn Decoder>) -> TrackInput {
        TrackInput {
            participant: self.participant.clone(),
            format: self.format,
            counting: self.counting,
            layout: self.layout(),
            decoder,
            gain: self.gain,
            drift: self.drift,
        }
    }
}

/// So that hours of silence are decoded in no time.
static ZEROS: [u8; 4_096] = [0; 4_096];

/// A decoder without a memory. What is lost it fills with a value, so that it shows.
pub(crate) struct Pcm {
    pub(crate) format: Format,
    pub(crate) concealed: i16,
}

impl Pcm {
    pub(crate) fn boxed(format: Format) -> Box<dyn Decoder> {
        Box::new(Self { format, concealed: 0 })
    }
}

impl Decoder for Pcm {
    fn rate(&self) -> u32 {
        self.format.rate
    }

    fn channels(&self) -> u8 {
        self.format.channels
    }

    fn packet(&mut self, payload: &[u8], out: &mut Vec<i16>) -> Result<u64, DecodeError> {
        if payload.len() <= ZEROS.len() && payload == &ZEROS[..payload.len()] {
            out.resize(out.len() + payload.len() / 2, 0);
            return Ok((payload.len() / 2 / usize::from(self.format.channels)) as u64);
        }
        let samples = payload.chunks_exact(2).map(|bytes| i16::from_le_bytes([bytes[0], bytes[1]]));
        out.extend(samples);
        Ok((payload.len() / 2 / usize::from(self.format.channels)) as u64)
    }

    fn conceal(&mut self, samples: u64, _next: Option<&[u8]>, out: &mut Vec<i16>) {
        let length = samples as usize * usize::from(self.format.channels);
        out.resize(out.len() + length, self.concealed);
    }

    fn reset(&mut self) {}
}

/// An encoder that keeps what it is given: its bytes are the samples.
pub(crate) struct Capture;

impl Encoder for Capture {
    fn start(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"HEAD");
    }

    fn push(&mut self, samples: &[i16], out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.extend_from_slice(b"TAIL");
        Ok(())
    }

    fn head(&self) -> Option<Vec<u8>> {
        Some(b"head".to_vec())
    }
}

pub(crate) fn plan(arrangement: Arrangement) -> Plan {
    Plan { arrangement, ..Plan::default() }
}

pub(crate) fn mixer(plan: &Plan, voices: &[Voice]) -> Result<Mixer, MixError> {
    Mixer::new(plan.clone(), voices.iter().map(|voice| voice.input(Pcm::boxed(voice.format))).collect())
}

/// Mixes all of it; each time that packets are asked for, `batch` of them are pushed.
pub(crate) fn mix_by(plan: &Plan, voices: &[Voice], batch: usize, mut look: impl FnMut(&Mixer)) -> Vec<i16> {
    let mut mixer = mixer(plan, voices).unwrap();
    let mut out = Vec::new();
    drive(&mut mixer, voices, batch, |mixer| {
        mixer.step(&mut out);
        look(mixer);
    });
    let spec = mixer.spec();
    assert_eq!(spec.samples, Some(out.len() as u64 / u64::from(spec.channels)), "as long as was promised");
    out
}

/// Feeds a mixer until it is done.
pub(crate) fn drive(mixer: &mut Mixer, voices: &[Voice], batch: usize, mut step: impl FnMut(&mut Mixer)) {
    let mut items: Vec<_> = voices.iter().map(|voice| voice.items.iter()).collect();
    loop {
        match mixer.needs().unwrap() {
            Need::Packet(track) => {
                for _ in 0..batch {
                    match items[track].next() {
                        Some(Item::Packet(meta, from, samples)) => {
                            mixer.push(track, *meta, &voices[track].payload(*from, *samples));
                        }
                        Some(Item::Event(..)) => {}
                        None => mixer.end(track),
                    }
                }
            }
            Need::Step => step(mixer),
            Need::Extend => panic!("all is known"),
            Need::Done => return,
        }
    }
}

pub(crate) fn mix(plan: &Plan, voices: &[Voice]) -> Vec<i16> {
    mix_by(plan, voices, 1, |_| {})
}

/// One of several interleaved channels.
pub(crate) fn channel(samples: &[i16], channels: usize, wanted: usize) -> Vec<i16> {
    samples.iter().skip(wanted).step_by(channels).copied().collect()
}

/// A sample that tells its own number, never 0.
pub(crate) const fn coded(sample: u64) -> i16 {
    (sample.wrapping_mul(7_919) % 20_011) as i16 - 10_005
}

/// A tone of full scale times `level`.
pub(crate) fn tone(hertz: f64, rate: u32, level: f64) -> impl Fn(u64) -> i16 {
    move |sample| {
        let phase = std::f64::consts::TAU * hertz * sample as f64 / f64::from(rate);
        (32_767.0 * level * phase.sin()).round() as i16
    }
}

/// How strong a tone is in these samples, relative to full scale (Goertzel's single bin, by its definition).
pub(crate) fn strength(samples: &[i16], hertz: f64, rate: u32) -> f64 {
    let (mut real, mut imaginary) = (0.0, 0.0);
    for (index, &sample) in samples.iter().enumerate() {
        let phase = std::f64::consts::TAU * hertz * index as f64 / f64::from(rate);
        real += f64::from(sample) * phase.cos();
        imaginary += f64::from(sample) * phase.sin();
    }
    2.0 * real.hypot(imaginary) / samples.len().max(1) as f64 / 32_767.0
}

/// The places of peaks above `level`, one for each stretch that is above it.
pub(crate) fn clicks(samples: &[i16], level: i16) -> Vec<usize> {
    let mut found: Vec<usize> = Vec::new();
    let mut open = false;
    for (index, sample) in samples.iter().enumerate() {
        let above = sample.unsigned_abs() > level.unsigned_abs();
        match (above, open, found.last_mut()) {
            (true, true, Some(last)) if sample.unsigned_abs() > samples[*last].unsigned_abs() => {
                *last = index
            }
            (true, false, _) => found.push(index),
            _ => {}
        }
        open = above;
    }
    found
}
