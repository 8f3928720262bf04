//! Bytes as hexadecimal text, both ways.
