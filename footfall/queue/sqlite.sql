-- The queue file. PRAGMA user_version is 1.
-- A job's small changing row and its large body are apart, so that leasing a thousand jobs touches a few pages.

CREATE TABLE ledger (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    received_events INTEGER NOT NULL,   -- every event that was ever put
    purged_events INTEGER NOT NULL,     -- given up for good, by a person
    last_number INTEGER NOT NULL,       -- of the newest job
    bytes INTEGER NOT NULL              -- of the payloads of every job, unfinished or failed
);

INSERT INTO ledger VALUES (1, 0, 0, 0, 0);

-- Unfinished jobs. The id is lane * 2^56 + number: the primary key is the order in which they are leased.
CREATE TABLE job (
    id INTEGER PRIMARY KEY,
    events INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    put_at_ms INTEGER NOT NULL,
    ready_at_ms INTEGER NOT NULL,       -- 0: at once; else when the back-off or the lease ends
    wait_ms INTEGER NOT NULL,           -- how long that was to take: a wait that began in the future is a clock set back
    tries INTEGER NOT NULL,             -- since it was put or last replayed: what QUEUE_ATTEMPTS limits
    earlier INTEGER NOT NULL,           -- tries before its last replay: what makes a replayed job a redelivered one
    token INTEGER                       -- of its lease; NULL where nobody has it
);

CREATE TABLE failed (
    id INTEGER PRIMARY KEY,
    events INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    put_at_ms INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    error TEXT NOT NULL,
    failed_at_ms INTEGER NOT NULL
);

-- Of a job or a failed job: a MessagePack array of its payloads.
CREATE TABLE body (
    id INTEGER PRIMARY KEY,
    payloads BLOB NOT NULL
);

-- A put is one statement: each statement hands the interpreter's lock back and forth several times, and while the
-- event loop is busy each time can cost a switch interval.
CREATE VIEW incoming AS
SELECT 0 AS lane, 0 AS events, 0 AS bytes, 0 AS put_at_ms, 0 AS bytes_max, x'' AS payloads;

CREATE TRIGGER put INSTEAD OF INSERT ON incoming
BEGIN
    SELECT RAISE(ABORT, 'full') FROM ledger WHERE bytes + NEW.bytes > NEW.bytes_max;
    UPDATE ledger
    SET received_events = received_events + NEW.events, last_number = last_number + 1, bytes = bytes + NEW.bytes;
    INSERT INTO job (id, events, bytes, put_at_ms, ready_at_ms, wait_ms, tries, earlier)
    SELECT (NEW.lane << 56) + last_number, NEW.events, NEW.bytes, NEW.put_at_ms, 0, 0, 0, 0 FROM ledger;
    INSERT INTO body (id, payloads) SELECT (NEW.lane << 56) + last_number, NEW.payloads FROM ledger;
END;
