CREATE TABLE edge_seen (
    name      text        COLLATE "C" NOT NULL CHECK (octet_length(name) <= 63),
    instance  text        COLLATE "C" NOT NULL CHECK (octet_length(instance) <= 63),
    version   text        NOT NULL,
    format    integer     NOT NULL CHECK (format >= 0),
    revision  bigint      NOT NULL CHECK (revision >= 0),
    last_seen timestamptz NOT NULL,
    PRIMARY KEY (name, instance)
) WITH (fillfactor = 50);
COMMENT ON TABLE  edge_seen IS 'The edges that admins saw connected and that did not report that they leave, outside revisions. Pruned by age.';
COMMENT ON COLUMN edge_seen.name IS 'As the edge reported it: a long one is shortened.';
COMMENT ON COLUMN edge_seen.instance IS 'Drawn by each run of an edge; empty for edges that report none.';
COMMENT ON COLUMN edge_seen.format IS 'The format of the read model that the edge reads; 0 for edges that report none.';
COMMENT ON COLUMN edge_seen.revision IS 'The revision that it served at last_seen.';
COMMENT ON COLUMN edge_seen.last_seen IS 'When it was seen connected, to 10 seconds: refreshed no more often.';
