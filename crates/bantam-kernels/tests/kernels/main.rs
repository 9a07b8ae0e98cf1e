//! Every kernel against plain loops in f64, and against itself on other machines.

mod attention;
mod backward;
mod exactness;
mod ggml;
mod learning;
mod products;
mod random;
mod rows;
mod storages;
