//! Generated, realistic traffic: the demo trace, `fusebox load`, tests and benches draw from it.
