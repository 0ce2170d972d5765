-- Nodes: who records. A node is a data folder, whichever process serves from it; nodes serve all tenants.

CREATE TABLE nodes (
    id          BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    epoch       INTEGER NOT NULL,   -- grows at each start, and when it is taken over
    lease_until INTEGER             -- absent once its lease has run out and somebody has taken over
) STRICT, WITHOUT ROWID;

-- The bundles of a lost node, up to an epoch, and who finishes what is in them.
CREATE TABLE claims (
    node_id  BLOB    NOT NULL,
    epoch    INTEGER NOT NULL,
    taken_by BLOB    NOT NULL,
    PRIMARY KEY (node_id, epoch)
) STRICT, WITHOUT ROWID;

-- The node that records it, or has taken it over: nobody else publishes it.
ALTER TABLE recordings ADD COLUMN node_id BLOB;
CREATE INDEX recordings_of_node ON recordings (node_id) WHERE state IN ('starting', 'active', 'ending');
