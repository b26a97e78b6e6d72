//! The program `ostler`.

fn main() {}
