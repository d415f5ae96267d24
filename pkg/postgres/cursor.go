package postgres

import (
	"context"
	"database/sql"
	"fmt"
	"iter"

	"github.com/jmoiron/sqlx"
)

// fetchRows bounds what a list or an export holds of a query: rows can have 128 KiB.
const fetchRows = 64

// fetch yields the rows of a query as read makes them of one. It reads a few at a time
// through a cursor, so that memory does not grow with their number, and what nobody
// wants is not read. Meanwhile nothing waits in the connection, which PostgreSQL would
// cut off if the consumer was slow.
func fetch[T any](ctx context.Context, q querier, what, text string, args []any, read func(row *sqlx.Rows) (T, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		if _, err := q.on.ExecContext(ctx, `DECLARE fetched NO SCROLL CURSOR FOR `+text, args...); err != nil {
			var none T
			yield(none, named(what, err))
			return
		}
		defer func() { _, _ = q.on.ExecContext(ctx, `CLOSE fetched`) }() // fails if the transaction has
		for {
			batch, err := fetchBatch(ctx, q, what, read)
			for _, item := range batch {
				if !yield(item, nil) {
					return
				}
			}
			if err != nil {
				var none T
				yield(none, err)
			}
			if err != nil || len(batch) < fetchRows {
				return
			}
		}
	}
}

func fetchBatch[T any](ctx context.Context, q querier, what string, read func(row *sqlx.Rows) (T, error)) (batch []T, err error) {
	rows, err := q.on.QueryxContext(ctx, fmt.Sprintf(`FETCH %d FROM fetched`, fetchRows))
	if err != nil {
		return nil, named(what, err)
	}
	defer rows.Close()
	for rows.Next() {
		item, err := read(rows)
		if err != nil {
			return batch, named(what, err)
		}
		batch = append(batch, item)
	}
	return batch, named(what, rows.Err())
}

// fetchJSON is fetch for rows as JSON.
func fetchJSON[T any](ctx context.Context, q querier, what, text string, args []any, read func(object []byte) (T, error)) iter.Seq2[T, error] {
	return fetch(ctx, q, what, text, args, func(row *sqlx.Rows) (item T, err error) {
		var object sql.RawBytes
		if err = row.Scan(&object); err == nil {
			item, err = read(object)
		}
		return item, err
	})
}
