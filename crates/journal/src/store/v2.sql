-- Version 2 of the journal: forks, children, questions, timers, budgets. Described in
-- docs/reference/journal-format.md. Like `run`, the new tables and columns are projections of events,
-- but for `pin` and `meta`.

ALTER TABLE run ADD COLUMN ready_ms INTEGER;    -- from when on an engine may take the run up; null: not by itself
ALTER TABLE run ADD COLUMN waiting INTEGER NOT NULL DEFAULT 0; -- 1: parked until a question, timer or child is done
ALTER TABLE run ADD COLUMN parent INTEGER;      -- run.key of the run that spawned it
ALTER TABLE run ADD COLUMN forked_from INTEGER; -- run.key of the run whose first events it shares
ALTER TABLE run ADD COLUMN forked_seq INTEGER;  -- shared are the events before this one
CREATE INDEX run_ready ON run (ready_ms) WHERE ready_ms IS NOT NULL;
CREATE INDEX run_of_parent ON run (parent) WHERE parent IS NOT NULL;
CREATE INDEX run_forked ON run (forked_from) WHERE forked_from IS NOT NULL;
UPDATE run SET ready_ms = created_ms WHERE status = 0;

-- The questions that nobody has answered yet.
CREATE TABLE question (
    run INTEGER NOT NULL,           -- run.key
    path TEXT NOT NULL,             -- the step's address
    asked_seq INTEGER NOT NULL,     -- the event that asked
    expires_ms INTEGER,             -- when it need not be answered any more
    PRIMARY KEY (run, path)
);

-- What runs with a budget may use, have used, and have reserved for steps in flight.
CREATE TABLE budget (
    run INTEGER NOT NULL,           -- run.key
    dimension INTEGER NOT NULL,     -- 0 money, 1 tokens, 2 time, 3 steps
    most INTEGER NOT NULL,
    spent INTEGER NOT NULL,
    reserved INTEGER NOT NULL,
    PRIMARY KEY (run, dimension)
);

-- Runs that are kept, whatever their age, because something points at them.
CREATE TABLE pin (
    run INTEGER NOT NULL,           -- run.key
    reason TEXT NOT NULL,
    PRIMARY KEY (run, reason)
);

CREATE TABLE meta (
    name TEXT NOT NULL PRIMARY KEY,
    value INTEGER NOT NULL
);
INSERT INTO meta (name, value) VALUES ('collections', 0); -- how often payloads have been collected
