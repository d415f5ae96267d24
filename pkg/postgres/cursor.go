package postgres

import (
	"context"
	"database/sql"
	"fmt"
	"iter"

	"github.com/jmoiron/sqlx"
)

// How much is fetched at once: about so many bytes, but at most a number of rows, as the
// next rows may be a thousand times as large.
const (
	fetchBytes = 64 << 10
	largeRows  = 64 // with texts that are bounded in KiB
	smallRows  = 1000
)

// fetch yields the rows of a query. read converts a row and returns its size in bytes.
// A cursor fetches a few rows at a time, so that memory is bounded and rows that nobody
// wants are not read. No data waits in the connection in between: PostgreSQL would close
// it if a slow consumer did not read for long.
func fetch[T any](ctx context.Context, q querier, most int, what, text string, args []any, read func(row *sqlx.Rows) (T, int, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		_, err := q.on.ExecContext(ctx, `DECLARE fetched NO SCROLL CURSOR FOR `+text, args...)
		for limit := 4; err == nil; {
			var items []T
			var bytes int
			items, bytes, err = fetchSome(ctx, q, limit, read)
			for _, item := range items {
				if !yield(item, nil) {
					_, _ = q.on.ExecContext(ctx, `CLOSE fetched`) // if it fails, the end of the transaction closes it
					return
				}
			}
			if err == nil && len(items) < limit {
				_, err = q.on.ExecContext(ctx, `CLOSE fetched`)
				break
			}
			limit = max(1, min(2*limit, limit*fetchBytes/max(bytes, 1), most))
		}
		if err != nil {
			var none T
			yield(none, named(what, err))
		}
	}
}

func fetchSome[T any](ctx context.Context, q querier, limit int, read func(row *sqlx.Rows) (T, int, error)) (items []T, bytes int, err error) {
	rows, err := q.on.QueryxContext(ctx, fmt.Sprintf(`FETCH %d FROM fetched`, limit))
	if err != nil {
		return nil, 0, err
	}
	defer rows.Close()
	for rows.Next() {
		item, size, err := read(rows)
		if err != nil {
			return items, bytes, err
		}
		items, bytes = append(items, item), bytes+size
	}
	return items, bytes, rows.Err()
}

// fetchJSON is fetch for rows that are JSON objects.
func fetchJSON[T any](ctx context.Context, q querier, what, text string, args []any, read func(text []byte) (T, error)) iter.Seq2[T, error] {
	return fetch(ctx, q, largeRows, what, text, args, func(row *sqlx.Rows) (T, int, error) {
		var object sql.RawBytes
		if err := row.Scan(&object); err != nil {
			var none T
			return none, 0, err
		}
		item, err := read(object)
		return item, len(object), err
	})
}
