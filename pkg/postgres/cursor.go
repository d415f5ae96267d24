package postgres

import (
	"context"
	"database/sql"
	"fmt"
	"iter"

	"github.com/jmoiron/sqlx"
)

// What is fetched at once: about so many bytes, but no more than a number of rows, as the
// next ones may be a thousand times as large.
const (
	fetchBytes = 64 << 10
	largeRows  = 64 // with texts that are bounded in KiB
	smallRows  = 1000
)

// fetch yields the rows of a query as read makes them of one, with the bytes that it
// found in it. They come through a cursor, a few at a time: memory holds no more, and
// what nobody wants is not read. Nothing waits in the connection meanwhile, which
// PostgreSQL cuts off if a slow consumer leaves it unread for long.
func fetch[T any](ctx context.Context, q querier, most int, what, text string, args []any, read func(row *sqlx.Rows) (T, int, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		_, err := q.on.ExecContext(ctx, `DECLARE fetched NO SCROLL CURSOR FOR `+text, args...)
		for limit := 4; err == nil; {
			var items []T
			var bytes int
			items, bytes, err = fetchSome(ctx, q, limit, read)
			for _, item := range items {
				if !yield(item, nil) {
					_, _ = q.on.ExecContext(ctx, `CLOSE fetched`) // or the end of the transaction does
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

// fetchJSON is fetch for rows as JSON.
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
