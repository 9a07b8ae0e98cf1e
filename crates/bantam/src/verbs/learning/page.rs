//! One self-contained page about a run: curves and answers, without a script.

use std::fmt::Write;

use serde_json::Value;

use super::validation_losses;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 240.0;
/// Room for the numbers beside the axes.
const EDGE: f64 = 48.0;
/// Texts that are shown.
const SHOWN_MAX: usize = 20;
const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem;\
color:#222;background:#fff}table{border-collapse:collapse;width:100%}td,th{text-align:left;vertical-align:top;\
padding:.3rem .6rem;border-bottom:1px solid #ccc;white-space:pre-wrap;overflow-wrap:break-word}svg{width:100%;\
height:auto}.train{stroke:#8aa;fill:none}.validation{stroke:#c30;fill:#c30}text{font-size:12px;fill:currentColor}\
@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}td,th{border-color:#444}}";

/// A line of a chart.
struct Curve {
    class: &'static str,
    points: Vec<(f64, f64)>,
}

/// A page in the making.
pub(crate) struct Page {
    html: String,
}

impl Page {
    /// A page with this title, and the curves of what was measured.
    pub(crate) fn new(title: &str, metrics: &[Value]) -> Self {
        let mut page = Page {
            html: format!(
                "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" \
                 content=\"width=device-width\"><title>{0}</title><style>{STYLE}</style><h1>{0}</h1>",
                escaped(title)
            ),
        };
        match numbers(metrics, "reward") {
            none if none.is_empty() => {
                page.add("<h2>Loss</h2><p>Of every step, and of what is not learnt (dots).</p>");
                page.add(&chart(&[curve("train", numbers(metrics, "loss")), validation(metrics)]));
            }
            rewards => {
                page.add("<h2>Reward</h2><p>The mean of every step's answers.</p>");
                page.add(&chart(&[curve("train", rewards)]));
            }
        }
        page.add("<h2>Learning rate</h2>");
        page.add(&chart(&[curve("train", numbers(metrics, "rate"))]));
        page
    }

    fn add(&mut self, html: &str) {
        self.html += html;
    }

    /// A heading, a sentence and a table below.
    pub(crate) fn section(&mut self, heading: &str, text: &str, table: &str) {
        let (heading, text) = (escaped(heading), escaped(text));
        let _ = write!(self.html, "<h2>{heading}</h2><p>{text}</p>{table}");
    }

    /// What was chosen, and why.
    pub(crate) fn choices(&mut self, choices: &[[String; 3]]) {
        let rows = choices.iter().map(|choice| choice.each_ref().map(String::as_str));
        self.section("Settings", "", &table(["what", "value", "why"], rows));
    }

    /// The texts that the model wrote while it learnt, the latest first.
    pub(crate) fn texts(&mut self, metrics: &[Value]) {
        let texts = metrics.iter().rev().filter_map(|line| Some((line["step"].as_u64()?, &line["texts"])));
        let mut rows = Vec::new();
        for (step, texts) in texts {
            let texts = texts.as_array().into_iter().flatten().filter_map(Value::as_str);
            rows.extend(texts.map(|text| [step.to_string(), text.to_owned()]));
        }
        if !rows.is_empty() {
            let rows = rows.iter().take(SHOWN_MAX).map(|row| row.each_ref().map(String::as_str));
            self.section(
                "Texts",
                "What the model wrote after so many steps.",
                &table(["step", "text"], rows),
            );
        }
    }

    /// The page.
    pub(crate) fn finish(self) -> String {
        self.html
    }
}

/// A table of texts.
pub(crate) fn table<'a, const N: usize>(head: [&str; N], rows: impl Iterator<Item = [&'a str; N]>) -> String {
    let mut out = format!("<table><tr><th>{}", head.join("<th>"));
    for row in rows {
        let _ = write!(out, "<tr><td>{}", row.map(escaped).join("<td>"));
    }
    out + "</table>"
}

fn numbers(metrics: &[Value], name: &str) -> Vec<(f64, f64)> {
    metrics.iter().filter_map(|line| Some((line["step"].as_f64()?, line[name].as_f64()?))).collect()
}

fn curve(class: &'static str, points: Vec<(f64, f64)>) -> Curve {
    Curve { class, points }
}

fn validation(metrics: &[Value]) -> Curve {
    let points = validation_losses(metrics).map(|found| (found.step as f64, found.loss));
    curve("validation", points.collect())
}

/// Curves over one pair of axes.
fn chart(curves: &[Curve]) -> String {
    let all = || curves.iter().flat_map(|curve| &curve.points);
    let right = all().map(|point| point.0).fold(1.0, f64::max);
    let top = all().map(|point| point.1).fold(0.0, f64::max);
    let top = if top > 0.0 { top } else { 1.0 };
    let at = |(x, y): (f64, f64)| {
        let (width, height) = (WIDTH - EDGE - 8.0, HEIGHT - EDGE);
        (EDGE + x / right * width, 8.0 + (1.0 - y / top) * height)
    };
    let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">");
    for share in [0.0, 0.5, 1.0] {
        let ((left, y), (end, _)) = (at((0.0, share * top)), at((right, 0.0)));
        // Around its middle the last number would leave the picture.
        let anchor = if share < 1.0 { "middle" } else { "end" };
        let _ = write!(
            svg,
            "<path d=\"M{left} {y}H{end}\" stroke=\"#8884\"/><text x=\"0\" y=\"{:.1}\">{}</text>\
             <text x=\"{:.1}\" y=\"{}\" text-anchor=\"{anchor}\">{:.0}</text>",
            y + 4.0,
            number(share * top),
            at((share * right, 0.0)).0,
            HEIGHT - 12.0,
            share * right
        );
    }
    for Curve { class, points } in curves {
        let places: Vec<(f64, f64)> = points.iter().map(|point| at(*point)).collect();
        let line: Vec<String> = places.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let _ =
            write!(svg, "<polyline class=\"{class}\" style=\"fill:none\" points=\"{}\"/>", line.join(" "));
        if *class == "validation" {
            for (x, y) in places {
                let _ = write!(svg, "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\"/>");
            }
        }
    }
    svg + "</svg>"
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Three digits, as people write them.
fn number(x: f64) -> String {
    match x.abs() {
        0.0 => "0".into(),
        small if small < 1e-2 => format!("{x:.1e}"),
        of if of < 10.0 => format!("{x:.2}"),
        of if of < 100.0 => format!("{x:.1}"),
        of if of < 1e5 => format!("{x:.0}"),
        _ => format!("{x:.1e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_become_markup() {
        assert_eq!(escaped("<b a=\"1\">&"), "&lt;b a=&quot;1&quot;&gt;&amp;");
    }

    #[test]
    fn curves_stay_inside() {
        let svg = chart(&[curve("train", vec![(0.0, 4.0), (10.0, 1.0)])]);
        assert!(svg.contains("points=\"48.0,8.0 712.0,152.0\""), "{svg}");
        assert!(svg.contains(">4.00</text>"), "{svg}");
    }
}
