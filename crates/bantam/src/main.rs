//! Small language models on hardware people own.
fn main() {}
