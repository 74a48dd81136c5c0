#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod checkpoint;
pub mod digest;
pub mod field;
pub mod instant;
pub mod key;
pub mod note;
pub mod record;
pub mod sealed_line;
pub mod tiles;
pub mod tree;
pub mod verify;
