//! Documents, passages, the search index and the check of citations.
