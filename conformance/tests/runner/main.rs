//! The runner from outside: what it refuses, and how it takes what a broker made for the purpose
//! does.

mod bad_scripts;
mod failures;
mod fake;
mod leftovers;
mod process;
mod results;
mod values;
