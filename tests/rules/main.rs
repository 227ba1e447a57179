//! Rules about the text of the repository that a compiler does not check. They read files and start nothing.

mod documents;
mod imports;
mod module_graph;
mod scenarios;
mod source;
mod words;
