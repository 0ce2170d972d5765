//! A figure: what was measured, what it is held against, and whether it holds.

use std::fmt;

use serde::Serialize;
use serde_json::Value;

/// Which way is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Better {
    Lower,
    Higher,
}

/// The other side of a ratio.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Against {
    pub(super) name: String,
    pub(super) value: f64,
}

/// One figure. The bar is the ratio's where there is one, else the value's; without a bar it always holds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Figure {
    pub(super) name: String,
    pub(super) value: f64,
    pub(super) unit: String,
    pub(super) better: Better,
    pub(super) against: Option<Against>,
    pub(super) ratio: Option<f64>,
    pub(super) bar: Option<f64>,
    pub(super) held: bool,
}

impl Figure {
    /// A value by itself.
    pub(super) fn new(name: &str, value: f64, unit: &str, better: Better) -> Self {
        Self {
            name: name.to_owned(),
            value,
            unit: unit.to_owned(),
            better,
            against: None,
            ratio: None,
            bar: None,
            held: true,
        }
    }

    /// Held against something that was measured in the same run, in the same unit.
    pub(super) fn against(mut self, name: &str, value: f64) -> Self {
        self.ratio = Some(self.value / value);
        self.against = Some(Against { name: name.to_owned(), value });
        self
    }

    /// Held to a bar: at most it where lower is better, at least it where higher is.
    pub(super) fn bar(mut self, bar: f64) -> Self {
        let judged = self.ratio.unwrap_or(self.value);
        self.bar = Some(bar);
        self.held = match self.better {
            Better::Lower => judged <= bar,
            Better::Higher => judged >= bar,
        };
        self
    }
}

/// All figures of one run.
#[derive(Debug, Serialize)]
pub(super) struct Document {
    machine: Value,
    /// A short run: the figures are not to be judged by.
    quick: bool,
    pub(super) figures: Vec<Figure>,
}

impl Document {
    pub(super) const fn new(machine: Value, quick: bool) -> Self {
        Self { machine, quick, figures: Vec::new() }
    }

    /// Names of the figures that do not hold.
    pub(super) fn missed(&self) -> Vec<&str> {
        self.figures.iter().filter(|figure| !figure.held).map(|figure| figure.name.as_str()).collect()
    }
}

impl fmt::Display for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.figures.iter().map(|figure| figure.name.len()).max().unwrap_or(0);
        for figure in &self.figures {
            write!(f, "{:<width$}  {}", figure.name, figure)?;
            writeln!(f)?;
        }
        Ok(())
    }
}

/// Everything but the name.
impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>9} {}", short(self.value), self.unit)?;
        if let (Some(against), Some(ratio)) = (&self.against, self.ratio) {
            write!(f, "; {}: {}; ratio {ratio:.3}", against.name, short(against.value))?;
        }
        let Some(bar) = self.bar else { return Ok(()) };
        let sign = match self.better {
            Better::Lower => '≤',
            Better::Higher => '≥',
        };
        write!(f, "; bar {sign} {bar}: {}", if self.held { "held" } else { "NOT HELD" })
    }
}

/// Three digits that count.
fn short(value: f64) -> String {
    let whole = value.abs().max(1.0).log10().floor() as usize + 1;
    format!("{value:.*}", 4_usize.saturating_sub(whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_the_ratios_where_there_is_one() {
        let figure = Figure::new("cpu", 3.0, "s", Better::Lower).against("sink", 2.0).bar(1.0);
        assert_eq!((figure.ratio, figure.held), (Some(1.5), false));
        assert!(Figure::new("cpu", 2.0, "s", Better::Lower).against("sink", 2.0).bar(1.0).held);
        assert!(!Figure::new("memory", 65.0, "KiB", Better::Lower).bar(64.0).held);
        assert!(Figure::new("rate", 7.0, "MB/s", Better::Higher).against("loop", 10.0).bar(0.7).held);
        assert!(!Figure::new("rate", 6.9, "MB/s", Better::Higher).against("loop", 10.0).bar(0.7).held);
    }

    #[test]
    fn only_what_misses_its_bar_is_named() {
        let mut document = Document::new(Value::Null, true);
        document.figures.push(Figure::new("free", 9.0, "s", Better::Lower));
        document.figures.push(Figure::new("slow", 9.0, "s", Better::Lower).bar(2.0));
        assert_eq!(document.missed(), ["slow"]);
        assert!(document.to_string().contains("bar ≤ 2: NOT HELD"), "{document}");
    }

    #[test]
    fn the_document_has_the_shape_that_scripts_read() {
        let figure = Figure::new("cpu", 1.0, "s", Better::Lower).against("sink", 2.0).bar(1.0);
        let expected = serde_json::json!({
            "name": "cpu", "value": 1.0, "unit": "s", "better": "lower",
            "against": { "name": "sink", "value": 2.0 }, "ratio": 0.5, "bar": 1.0, "held": true,
        });
        assert_eq!(serde_json::to_value(figure).unwrap(), expected);
    }
}
