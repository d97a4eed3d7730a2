//! What an agent may do: policies over calls of tools, labels of trust, and checks that need no model.
//!
//! Start at [`Policy`], which says allow, ask or deny to a [`Call`]. [`Labels`] say from whom the texts come that
//! an agent has read: what a model makes of untrusted text is untrusted. [`Heard`] keeps them over a
//! conversation, with what was said, for the two checks: [`grounds`], whether what a writing call names was
//! said by the user or a tool, and [`promises`], whether what a reply says was done has been done.
//!
//! This crate decides and does nothing: it calls no tool, asks nobody and writes nothing down.

pub mod cases;
mod error;
pub mod grounds;
mod heard;
mod label;
mod policy;
pub mod promises;

pub use error::{Error, Result};
pub use heard::Heard;
pub use label::{Label, Labels};
pub use policy::{Call, DEFAULT, Policy, Rule, Verdict, Word};
