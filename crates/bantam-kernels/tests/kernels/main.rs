//! Every kernel against plain loops in f64, and against itself on other machines.

mod backward;
mod random;
