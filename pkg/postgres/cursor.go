package postgres

import (
	"context"
	"database/sql"
	"fmt"
	"iter"

	"github.com/jmoiron/sqlx"
)

// What is fetched at once: as much as fits into the buffers of a connection.
const (
	fetchBytes = 64 << 10
	fetchRows  = 500
)

// fetch yields the rows of a query as read makes them of one, with the bytes that it
// found in it. They come through a cursor, a few at a time: memory holds one, what
// nobody wants is not read, and nothing waits in the connection for a slow consumer,
// for whom PostgreSQL would cut it off. No other statement may run meanwhile.
func fetch[T any](ctx context.Context, q querier, what, text string, args []any, read func(row *sqlx.Rows) (T, int, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		stopped := false
		some := func(limit int) (rows, bytes int, err error) {
			found, err := q.on.QueryxContext(ctx, fmt.Sprintf(`FETCH %d FROM fetched`, limit))
			if err != nil {
				return 0, 0, err
			}
			defer found.Close()
			for !stopped && found.Next() {
				item, size, err := read(found)
				if err != nil {
					return rows, bytes, err
				}
				rows, bytes = rows+1, bytes+size
				stopped = !yield(item, nil)
			}
			return rows, bytes, found.Err()
		}
		_, err := q.on.ExecContext(ctx, `DECLARE fetched NO SCROLL CURSOR FOR `+text, args...)
		for limit, rows, bytes := 2, 2, 0; err == nil && !stopped && rows == limit; {
			limit = max(1, min(2*rows, rows*fetchBytes/max(bytes, 1), fetchRows))
			rows, bytes, err = some(limit)
		}
		if err == nil {
			_, err = q.on.ExecContext(ctx, `CLOSE fetched`)
		}
		if err != nil && !stopped {
			var none T
			yield(none, named(what, err))
		}
	}
}

// fetchJSON is fetch for rows as JSON.
func fetchJSON[T any](ctx context.Context, q querier, what, text string, args []any, read func(text []byte) (T, error)) iter.Seq2[T, error] {
	return fetch(ctx, q, what, text, args, func(row *sqlx.Rows) (T, int, error) {
		var object sql.RawBytes
		if err := row.Scan(&object); err != nil {
			var none T
			return none, 0, err
		}
		item, err := read(object)
		return item, len(object), err
	})
}
