-- Version 4 of the journal: the row of a run need not change with each of its events. Described in
-- docs/reference/journal-format.md.

ALTER TABLE run ADD COLUMN counted_seq INTEGER NOT NULL DEFAULT 0; -- the last event in the sums of the row
UPDATE run SET counted_seq = (SELECT coalesce(max(seq), 0) FROM event);
