package postgres

import (
	"context"
	"database/sql/driver"
	"iter"
	"strconv"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"

	"github.com/flaggery/flaggery/pkg/model"
)

// Import is a connection with the lines of an import in staging tables, which no other
// connection sees and which survive retries of the write.
//
// The heavy work is done in sets, without the state row's lock, while others write. At
// the end, the import catches up with what they committed, which it finds by the labels
// of their changes. Imports run one after the other.
type Import struct {
	db   *DB
	conn *sqlx.Conn
	// contested is set if another write has inserted one of the subjects first.
	contested bool
}

// single runs each statement by itself.
func (i *Import) single() querier { return querier{on: i.conn} }

// ImportRow is one valid line.
type ImportRow struct {
	Line   int64
	ID     string
	Weight int64           // NoWeight if the line has none
	Groups []model.GroupID // nil if the line has no groups
}

// NoWeight keeps the weight of a subject, and means 1 for a new one.
const NoWeight = -1

const (
	// copyBatch and copyBatchTime limit how long one COPY keeps its transaction open.
	// During a slow sender's transaction, PostgreSQL could not vacuum any table.
	copyBatch     = 100_000
	copyBatchTime = 5 * time.Second
	copyBuffer    = 48 << 10
)

// OpenImport takes a connection out of the pool until Close.
func (db *DB) OpenImport(ctx context.Context) (*Import, error) {
	conn, err := db.pool.Connx(ctx)
	if err != nil {
		return nil, translate(named("take a connection", err))
	}
	i := &Import{db: db, conn: conn}
	err = i.single().exec(ctx, "create the staging tables", `
		SET statement_timeout = 0;
		SET work_mem = '128MB'; -- imports go one after the other
		CREATE TEMP TABLE staged (line bigint, id text COLLATE "C", weight bigint, groups integer[]);
		CREATE TEMP TABLE again  (line bigint, id text COLLATE "C", weight bigint, groups integer[]);
		CREATE TEMP TABLE absent  (id text COLLATE "C", bucket_id integer, weight bigint, groups integer[]);
		CREATE TEMP TABLE fresh   (n bigint, id text COLLATE "C", weight bigint);
		CREATE TEMP TABLE changed (id text COLLATE "C", bucket_id integer, old bigint, weight bigint, groups integer[])`)
	if err != nil {
		i.Close()
		return nil, translate(err)
	}
	return i, nil
}

// Close resets the connection and returns it to the pool.
func (i *Import) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	// Not DISCARD ALL, as the pool expects its prepared statements. The rollback is for
	// an aborted COPY.
	err := i.single().exec(ctx, "reset the connection", `ROLLBACK; DISCARD TEMP; RESET ALL; `+i.db.settings)
	if err != nil {
		discard(i.conn)
		return
	}
	_ = i.conn.Close()
}

// Stage copies rows to the staging table, until rows yields an error.
func (i *Import) Stage(ctx context.Context, rows iter.Seq2[ImportRow, error]) error {
	err := i.conn.Raw(func(driverConn any) error {
		c := &copier{ctx: ctx, conn: driverConn.(pgConn)}
		for row, err := range rows {
			if err == nil {
				err = c.add(row)
			}
			if err != nil {
				c.abort()
				return err
			}
		}
		return c.finish()
	})
	return translate(err)
}

// pgConn has the methods of lib/pq's connections that copier needs.
type pgConn interface {
	driver.ConnPrepareContext
	driver.ExecerContext
}

// copier sends rows in COPY's text form, many in one message.
type copier struct {
	ctx    context.Context
	conn   pgConn
	copy   driver.Stmt // nil between batches
	rows   int
	since  time.Time
	buffer []byte
}

func (c *copier) add(row ImportRow) (err error) {
	if c.copy == nil {
		if err := c.exec(`BEGIN`); err != nil {
			return err
		}
		if c.copy, err = c.conn.PrepareContext(c.ctx, `COPY staged (line, id, weight, groups) FROM STDIN`); err != nil {
			return named("begin to copy lines", err)
		}
		c.rows, c.since = 0, time.Now()
	}
	c.buffer = appendRow(c.buffer, row)
	c.rows++
	switch {
	case c.rows >= copyBatch || time.Since(c.since) > copyBatchTime:
		return c.finish()
	case len(c.buffer) >= copyBuffer:
		return c.flush()
	}
	return nil
}

func (c *copier) flush() error {
	if len(c.buffer) == 0 {
		return nil
	}
	text := string(c.buffer[:len(c.buffer)-1]) // the driver adds the last line break
	c.buffer = c.buffer[:0]
	_, err := c.copy.(interface {
		CopyData(ctx context.Context, lines string) (driver.Result, error)
	}).CopyData(c.ctx, text)
	return named("copy lines", err)
}

func (c *copier) finish() error {
	if c.copy == nil {
		return nil
	}
	if err := c.flush(); err != nil {
		return err
	}
	if err := c.copy.Close(); err != nil {
		return named("end the copying of lines", err)
	}
	c.copy = nil
	return c.exec(`COMMIT`)
}

// abort ends the COPY, so that the connection can take a rollback.
func (c *copier) abort() {
	if c.copy != nil {
		_ = c.copy.Close()
	}
}

func (c *copier) exec(statement string) error {
	_, err := c.conn.ExecContext(c.ctx, statement, nil)
	return named(statement, err)
}

// appendRow appends a line of COPY. Ids have no control characters, so only the
// backslash has to be escaped.
func appendRow(to []byte, row ImportRow) []byte {
	to = strconv.AppendInt(to, row.Line, 10)
	to = append(to, '\t')
	for j := range len(row.ID) {
		if row.ID[j] == '\\' {
			to = append(to, '\\')
		}
		to = append(to, row.ID[j])
	}
	if row.Weight == NoWeight {
		to = append(to, "\t\\N"...)
	} else {
		to = strconv.AppendInt(append(to, '\t'), row.Weight, 10)
	}
	if row.Groups == nil {
		return append(to, "\t\\N\n"...)
	}
	to = append(to, "\t{"...)
	for j, id := range row.Groups {
		if j > 0 {
			to = append(to, ',')
		}
		to = strconv.AppendInt(to, int64(id), 10)
	}
	return append(to, "}\n"...)
}

// Duplicate is a line with the id of an earlier line.
type Duplicate struct {
	Line, First int64
	ID          string
}

// Index prepares the staging table for Write. If there are duplicate ids, it returns at
// most limit of the later lines instead.
func (i *Import) Index(ctx context.Context, limit int) ([]Duplicate, error) {
	err := i.single().exec(ctx, "index lines by id", `CREATE UNIQUE INDEX ON staged (id)`)
	if pq.As(err, pqerror.UniqueViolation) == nil {
		if err == nil {
			err = i.single().exec(ctx, "analyse lines", `ANALYZE staged`)
		}
		return nil, translate(err)
	}
	var duplicates []Duplicate
	err = i.single().selectAll(ctx, "list lines with an id that an earlier one has", &duplicates, `
		SELECT line, first, id FROM (SELECT line, id, min(line) OVER (PARTITION BY id) AS first FROM staged) numbered
		WHERE line > first ORDER BY line LIMIT $1`, limit)
	return duplicates, translate(err)
}
