package postgres

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"github.com/lib/pq"

	"github.com/flaggery/flaggery/pkg/model"
)

// Update hands apply what brings a reader from since to the last committed
// revision, in one consistent state of the database. Where the changes between the
// two cannot be told, that is everything: nothing was read yet, the epoch is
// another, the history forked, or old changes were pruned. Where nothing changed,
// the update says just that, and the time.
//
// An answer that does not come in time ends the update, and from then on any
// other wait for the database as well: a DB that follows does nothing else.
func (db *DB) Update(ctx context.Context, since model.Position, apply func(*model.Update) error) error {
	db.dialer.patience.Store(int64(answerTimeout))
	db.statements.prepare(ctx, db.pool)
	u, err := db.glance(ctx, single{db}, since)
	if err == nil && u != nil {
		return apply(u)
	}
	if err == nil {
		err = db.follow(ctx, since, apply)
	}
	if outdated(err) {
		db.statements.forget() // whoever follows asks again
	}
	return ended(ctx, err)
}

// follow is Update in a transaction.
func (db *DB) follow(ctx context.Context, since model.Position, apply func(*model.Update) error) error {
	return db.transact(ctx, db.pool, readOnly, readState, func(tx *Tx) error {
		tx.statements = &db.statements
		n, err := db.readNews(ctx, tx, since)
		if err != nil {
			return err
		}
		u := n.update()
		if !n.told {
			err = db.describeAll(ctx, tx, u)
		} else {
			if n.config {
				u.Configuration, _, err = db.configuration(ctx, tx)
			}
			if len(n.labels) > 0 {
				u.Subjects = func(each func(*model.SubjectUpdate) error) error {
					return db.changedSubjects(ctx, tx, n.labels, each)
				}
			}
		}
		if err != nil {
			return err
		}
		err = apply(u)
		db.dialer.patience.Store(int64(answerTimeout)) // a load is over: the end of the transaction takes no time
		return err
	})
}

// loadTimeout is how long the database may be silent in the middle of a load.
const loadTimeout = 5 * time.Minute

// news is how far the database is, and what the revisions since a position touched.
type news struct {
	state
	now, received time.Time // on the database's clock, and on the reader's when that came in
	told          bool      // the changes since the position are all there
	labels        []int64
	config        bool
	at            time.Time // of the last change
}

// selectNews also reads the change of the position itself, where it was not pruned:
// its time tells whether the reader has seen this history or another one that was
// lost, in a failover say, and whose revisions had the same numbers.
const selectNews = `
	SELECT s.epoch, s.revision, clock_timestamp(), c.revision, c.label, c.config, c.at
	FROM state s LEFT JOIN change c ON c.revision BETWEEN $1 AND s.revision ORDER BY c.revision`

func (db *DB) readNews(ctx context.Context, on queryer, since model.Position) (*news, error) {
	n := &news{at: since.At}
	last, forked := since.Revision, false
	err := scanAll(ctx, on, selectNews, func(rows *sql.Rows) error {
		var (
			now             time.Time
			revision, label sql.NullInt64
			config          sql.NullBool
			at              sql.NullTime
		)
		if err := rows.Scan(&n.Epoch, &n.Revision, &now, &revision, &label, &config, &at); err != nil {
			return err
		}
		if n.received.IsZero() { // each row has a time of its own
			n.now, n.received = now, time.Now()
		}
		switch {
		case !revision.Valid:
		case revision.Int64 == since.Revision:
			forked = !since.At.IsZero() && !since.At.Equal(at.Time)
		default:
			if revision.Int64 == last+1 { // else one is missing, and last stays behind
				last = revision.Int64
			}
			n.at = at.Time.UTC()
			n.config = n.config || config.Bool
			if label.Valid {
				n.labels = append(n.labels, label.Int64)
			}
		}
		return nil
	}, since.Revision)
	if err != nil {
		return nil, fmt.Errorf("read what changed: %w", err)
	}
	if db.now != nil {
		n.now = db.now()
	}
	n.now = n.now.UTC().Truncate(time.Microsecond)
	n.told = n.Epoch == since.Epoch && last == n.Revision && !forked
	return n, nil
}

// update is what the news say by themselves.
func (n *news) update() *model.Update {
	return &model.Update{Now: n.now, Received: n.received, Position: model.Position{Epoch: n.Epoch, Revision: n.Revision, At: n.at}}
}

// glance is Update for what most often happened: nothing, or a change of the
// configuration or of a few subjects. It takes one to three statements instead of a
// transaction around as many, as hundreds of edges ask at once and round trips are
// what costs. Each statement also tells the state that it saw. Where that moved on
// between two of them, or more happened, glance returns nil.
func (db *DB) glance(ctx context.Context, on queryer, since model.Position) (*model.Update, error) {
	if since.Epoch == "" {
		return nil, nil
	}
	n, err := db.readNews(ctx, on, since)
	if err != nil || !n.told {
		return nil, err
	}
	u := n.update()
	if n.config {
		var at state
		if u.Configuration, at, err = db.configuration(ctx, on); err != nil || at != n.state {
			return nil, err
		}
	}
	if len(n.labels) > 0 {
		subjects, at, err := readFew(ctx, on, n.labels)
		if err != nil || at != n.state || len(subjects) > glanced {
			return nil, err
		}
		u.Subjects = func(each func(*model.SubjectUpdate) error) error {
			for i := range subjects {
				if err := each(&subjects[i]); err != nil {
					return err
				}
			}
			return nil
		}
	}
	return u, nil
}

// single runs each statement by itself.
type single struct{ db *DB }

// QueryContext implements queryer.
func (s single) QueryContext(ctx context.Context, statement string, args ...any) (*sql.Rows, error) {
	if stmt := s.db.statements.get(statement); stmt != nil { //nolint:sqlclosecheck // it is kept
		return stmt.QueryContext(ctx, args...)
	}
	return s.db.pool.DB.QueryContext(ctx, statement, args...)
}

// glanced is how many changed subjects are few enough to be held at once.
const glanced = 1000

// selectFew has the state first, then what was deleted, then what changed. The bounds
// of the labels say nothing new, but let PostgreSQL plan the statement once: of an
// array that it does not know it expects far too many rows.
const selectFew = `
	SELECT kind, id, bucket, is_new, groups FROM (
		SELECT 1 AS kind, epoch::text AS id, revision AS bucket, false AS is_new, NULL::integer[] AS groups FROM state
		UNION ALL (SELECT 2, subject_id, 0, false, NULL FROM tombstone WHERE label = ANY($1) AND label BETWEEN $2 AND $3 AND born <> ALL($1) LIMIT $4)
		UNION ALL (SELECT 3, s.id, s.bucket_id, s.born = ANY($1),
		                  (SELECT array_agg(m.group_id ORDER BY m.group_id) FROM member m WHERE m.subject_id = s.id)
		           FROM subject s WHERE s.label = ANY($1) AND s.label BETWEEN $2 AND $3 LIMIT $4)
	) AS few ORDER BY kind`

// readFew reads the subjects with labels, or more than glanced where that is not all
// of them.
func readFew(ctx context.Context, on queryer, labels []int64) (subjects []model.SubjectUpdate, at state, err error) {
	err = scanAll(ctx, on, selectFew, func(rows *sql.Rows) error {
		var (
			kind   int
			id     string
			bucket int64
			isNew  bool
			groups groupIDs
		)
		if err := rows.Scan(&kind, &id, &bucket, &isNew, &groups); err != nil {
			return err
		}
		if kind == 1 {
			at = state{id, bucket}
			return nil
		}
		subjects = append(subjects, model.SubjectUpdate{ID: []byte(id), Bucket: model.BucketID(bucket), Groups: groups, New: isNew, Gone: kind == 2})
		return nil
	}, pq.Array(labels), slices.Min(labels), slices.Max(labels), glanced+1)
	if err != nil {
		err = fmt.Errorf("read changed subjects: %w", err)
	}
	return subjects, at, err
}

const (
	// An import may have changed any number of subjects, so there is no limit of time.
	countFew = `
		SELECT count(*), set_config('statement_timeout', '0', true)
		FROM (SELECT FROM subject WHERE label = ANY($1) LIMIT $2) AS counted`

	// A subject that was created by one of the changes was never seen by the reader,
	// so its deletion does not concern it.
	selectTombstones = `
		SELECT subject_id FROM tombstone WHERE label = ANY($1) AND born <> ALL($1)`
)

func (db *DB) changedSubjects(ctx context.Context, tx *Tx, labels []int64, each func(*model.SubjectUpdate) error) error {
	var (
		changed int
		lifted  string
		id      sql.RawBytes
		gone    = model.SubjectUpdate{Gone: true}
	)
	err := tx.QueryRowContext(ctx, countFew, pq.Array(labels), few+1).Scan(&changed, &lifted)
	if err != nil {
		return fmt.Errorf("count changed subjects: %w", err)
	}
	err = scanAll(ctx, tx, selectTombstones, func(rows *sql.Rows) error {
		if err := rows.Scan(&id); err != nil {
			return err
		}
		gone.ID = id
		return each(&gone)
	}, pq.Array(labels))
	if err != nil || changed == 0 {
		return err
	}
	statement := selectFewSubjects
	if changed > few {
		statement = selectManySubjects
		db.dialer.patience.Store(int64(loadTimeout))
	}
	return scanSubjects(ctx, tx, statement, each, pq.Array(labels))
}
