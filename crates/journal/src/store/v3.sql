-- Version 3 of the journal: the index that finds the events of a run is made of blocks of 4096 events,
-- so that runs that are worked on at the same time write to the same few pages of it, and not each to
-- its own. Described in docs/reference/journal-format.md.

DROP INDEX event_of_run;
CREATE INDEX event_of_run ON event (seq / 4096, run);
