//! What the operators of a collector change at the breakers of this process.

mod switches;
