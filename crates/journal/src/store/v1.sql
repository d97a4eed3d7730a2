-- Version 1 of the journal. Described in docs/reference/journal-format.md.
-- `payload` and `event` are the truth; `run` sums up a run's events; `lease` is of the moment.

CREATE TABLE payload (
    hash BLOB NOT NULL PRIMARY KEY, -- BLAKE3 of the kind's letter and the text
    kind INTEGER NOT NULL,          -- 0 value, 1 list
    size INTEGER NOT NULL,          -- bytes of the text
    body NOT NULL                   -- TEXT: the text; BLOB: the text compressed with zstd
);

CREATE TABLE event (
    seq INTEGER PRIMARY KEY,        -- order of writing
    run INTEGER NOT NULL,           -- run.key
    kind INTEGER NOT NULL,          -- 1.. about the run, 10.. about a step
    at_ms INTEGER NOT NULL,         -- milliseconds since 1970 UTC
    path TEXT,                      -- the step's address
    effect INTEGER,                 -- of a step's start: 0 pure, 1 read, 2 idempotent, 3 irreversible
    fingerprint BLOB,               -- of a step's start: BLAKE3 of the canonical input
    body TEXT NOT NULL,             -- JSON object; long values are references to payloads
    digest INTEGER NOT NULL         -- first 8 bytes of BLAKE3 over the fields above, without seq
);
CREATE INDEX event_of_run ON event (run);

CREATE TABLE run (
    key INTEGER PRIMARY KEY,        -- order of start
    id TEXT NOT NULL UNIQUE,
    agent TEXT NOT NULL,
    status INTEGER NOT NULL,        -- 0 running, 1 parked, 2 finished, 3 failed
    reason TEXT,                    -- why parked or failed
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL,
    steps INTEGER NOT NULL,         -- begun
    finished_steps INTEGER NOT NULL,-- ended with a result or an error
    started_seq INTEGER NOT NULL,   -- the event that began the run
    ended_seq INTEGER               -- the event that ended or parked it
);

CREATE TABLE lease (
    run INTEGER PRIMARY KEY,
    token BLOB NOT NULL,            -- random; who has it may write events of the run
    owner BLOB NOT NULL,            -- random; one for each opened journal, to renew all its leases
    machine TEXT NOT NULL,
    pid INTEGER NOT NULL,
    born INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL
);
