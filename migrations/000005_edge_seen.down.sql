DROP TABLE edge_seen;
