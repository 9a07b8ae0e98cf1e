//! One self-contained page about a run: curves and answers, without a script.

use std::fmt::Write;

use serde_json::Value;

use super::course::{Course, validation_losses};
use super::score::Score;
use crate::args::FinetuneArgs;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 240.0;
/// Room for the numbers beside the axes.
const EDGE: f64 = 48.0;
/// Answers that are shown.
const SHOWN_MAX: usize = 20;
const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem;\
color:#222;background:#fff}table{border-collapse:collapse;width:100%}td,th{text-align:left;vertical-align:top;\
padding:.3rem .6rem;border-bottom:1px solid #ccc;white-space:pre-wrap;overflow-wrap:anywhere}svg{width:100%;\
height:auto}.train{stroke:#8aa;fill:none}.validation{stroke:#c30;fill:#c30}text{font-size:12px;fill:currentColor}\
.right{color:#060}@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}td,th{border-color:#444}\
.right{color:#7d7}}";

/// A line of a chart.
struct Curve {
    class: &'static str,
    points: Vec<(f64, f64)>,
}

pub(super) fn page(args: &FinetuneArgs, course: &Course<'_>, scores: [&Score; 2]) -> String {
    let title = format!("{} learns {}", args.model, files(args));
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>{0}</title><style>{STYLE}</style><h1>{0}</h1>",
        escaped(&title)
    );
    page += "<h2>Loss</h2><p>In nats for each token: of every step, and on examples that are not learnt (dots).</p>";
    page += &chart(&[curve("train", numbers(&course.metrics, "loss")), validation(course)]);
    page += "<h2>Learning rate</h2>";
    page += &chart(&[curve("train", numbers(&course.metrics, "rate"))]);
    page += "<h2>Settings</h2><table><tr><th>what<th>value<th>why";
    for [name, value, reason] in &course.plan.choices {
        let _ = write!(page, "<tr><td>{}<td>{}<td>{}", escaped(name), escaped(value), escaped(reason));
    }
    page += "</table>";
    page + &answers(scores)
}

fn files(args: &FinetuneArgs) -> String {
    args.source.files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ")
}

fn answers([before, after]: [&Score; 2]) -> String {
    if after.asked() == 0 {
        return String::new();
    }
    let mut out = format!(
        "<h2>Answers</h2><p>{} of {} exactly as wanted before, {} after.</p>\
         <table><tr><th>prompt<th>wanted<th>before<th>after",
        before.right(),
        after.asked(),
        after.right()
    );
    for (before, after) in before.samples.iter().zip(&after.samples).take(SHOWN_MAX) {
        let class = if after.found.trim() == after.wanted.trim() { " class=\"right\"" } else { "" };
        let cells = [&after.prompt, &after.wanted, &before.found].map(|text| escaped(text));
        let _ = write!(out, "<tr><td>{}<td>{}<td>{}", cells[0], cells[1], cells[2]);
        let _ = write!(out, "<td{class}>{}", escaped(&after.found));
    }
    out + "</table>"
}

fn numbers(metrics: &[Value], name: &str) -> Vec<(f64, f64)> {
    metrics.iter().filter_map(|line| Some((line["step"].as_f64()?, line[name].as_f64()?))).collect()
}

fn curve(class: &'static str, points: Vec<(f64, f64)>) -> Curve {
    Curve { class, points }
}

fn validation(course: &Course<'_>) -> Curve {
    let points = validation_losses(&course.metrics).map(|(step, loss)| (step as f64, loss)).collect();
    curve("validation", points)
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
        let _ = write!(
            svg,
            "<path d=\"M{left} {y}H{end}\" stroke=\"#8884\"/><text x=\"0\" y=\"{:.1}\">{:.2e}</text>\
             <text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{:.0}</text>",
            y + 4.0,
            share * top,
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
    }
}
