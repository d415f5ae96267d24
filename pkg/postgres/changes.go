package postgres

import (
	"context"
	"database/sql"
	"fmt"
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
	err := db.transact(ctx, db.pool, readOnly, readState, func(tx *Tx) error {
		tx.statements = &db.statements
		u := &model.Update{Now: tx.Now, Received: time.Now(), Position: model.Position{Epoch: tx.Epoch, Revision: tx.Revision, At: since.At}}
		changes, err := loadChanges(ctx, tx, since)
		if err != nil {
			return err
		}
		if changes == nil {
			if err := db.describeAll(ctx, tx, u); err != nil {
				return err
			}
		} else if tx.Revision > since.Revision {
			u.At = changes.at
			if changes.config {
				if u.Configuration, err = db.configuration(ctx, tx); err != nil {
					return err
				}
			}
			if len(changes.labels) > 0 {
				u.Subjects = func(each func(*model.SubjectUpdate) error) error {
					return db.changedSubjects(ctx, tx, changes.labels, each)
				}
			}
		}
		err = apply(u)
		db.dialer.patience.Store(int64(answerTimeout)) // a load is over: the end of the transaction takes no time
		return err
	})
	if outdated(err) {
		db.statements.forget() // whoever follows asks again
	}
	return ended(ctx, err)
}

// loadTimeout is how long the database may be silent in the middle of a load.
const loadTimeout = 5 * time.Minute

// changes is what the revisions between two positions touched.
type changes struct {
	labels []int64
	config bool
	at     time.Time // of the last one
}

// loadChanges reads the changes after since, or returns nil where they cannot be
// told. The change of since itself is read too, where it was not pruned: its time
// tells whether the reader has seen this history or another one that was lost,
// in a failover say, and whose revisions had the same numbers.
func loadChanges(ctx context.Context, tx *Tx, since model.Position) (*changes, error) {
	if since.Epoch != tx.Epoch || since.Revision > tx.Revision {
		return nil, nil
	}
	c := &changes{}
	last, forked := since.Revision, false
	err := scanAll(ctx, tx, `SELECT revision, label, config, at FROM change WHERE revision >= $1 ORDER BY revision`,
		func(rows *sql.Rows) error {
			var (
				revision int64
				label    sql.NullInt64
				config   bool
			)
			if err := rows.Scan(&revision, &label, &config, &c.at); err != nil {
				return err
			}
			c.at = c.at.UTC()
			if revision == since.Revision {
				forked = !since.At.IsZero() && !since.At.Equal(c.at)
				return nil
			}
			if revision == last+1 { // else one is missing, and last stays behind
				last = revision
			}
			c.config = c.config || config
			if label.Valid {
				c.labels = append(c.labels, label.Int64)
			}
			return nil
		}, since.Revision)
	if err != nil || forked || last != tx.Revision {
		return nil, err
	}
	return c, nil
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
