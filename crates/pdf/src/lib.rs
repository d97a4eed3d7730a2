//! Reads PDF files with a text layer into pages, blocks, lines and words with boxes.
