package flaggery

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strconv"
	"time"

	"github.com/flaggery/flaggery/pkg/api"
)

// Event is one event of a stream. One of its fields is not nil.
type Event struct {
	Change *api.Change         // a committed change
	Edges  *api.Page[api.Edge] // all edges, at most 1000, after one of them changed
	// Reload says that changes up to a revision were skipped, because there are too many
	// or a backup was restored: read again what you keep.
	Reload *api.Reload
}

const (
	// maxSilence is three times the interval of the admin's comments.
	maxSilence = 45 * time.Second
	maxEvent   = 4 << 20
)

var errSilent = fmt.Errorf("the admin has sent nothing for %s", maxSilence)

// Events yields all events after a revision, or from now on if it is 0, until ctx ends.
// It yields an error last. Errors are normal: admins end streams when they shut down or
// the token is revoked. Continue with the revision of the last change; some changes of
// that revision may then be yielded again.
func (a *Admin) Events(ctx context.Context, after int64) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		silence := time.AfterFunc(maxSilence, func() { cancel(errSilent) })
		defer silence.Stop()
		q := request{method: http.MethodGet, path: at("events"), header: http.Header{}}
		if after > 0 {
			q.header.Set("Last-Event-ID", strconv.FormatInt(after, 10))
		}
		response, err := a.open(ctx, q, nil)
		if err != nil {
			yield(Event{}, cmp.Or(context.Cause(ctx), err))
			return
		}
		defer response.Body.Close()
		lines := bufio.NewScanner(response.Body)
		lines.Buffer(nil, maxEvent)
		name := ""
		for lines.Scan() {
			silence.Reset(maxSilence)
			field, value, _ := bytes.Cut(lines.Bytes(), []byte(": "))
			switch string(field) {
			case "event":
				name = string(value)
			case "data": // one line, the last of its event
				event, err := decodeEvent(name, value)
				if event == (Event{}) && err == nil {
					continue // an event of a later version
				}
				if !yield(event, err) || err != nil {
					return
				}
			}
		}
		err = cmp.Or(context.Cause(ctx), lines.Err(), io.EOF)
		yield(Event{}, fmt.Errorf("events: %w", err))
	}
}

func decodeEvent(name string, data []byte) (e Event, err error) {
	switch name {
	case "change":
		e.Change = new(api.Change)
		err = decode(data, e.Change)
	case "edges":
		e.Edges = new(api.Page[api.Edge])
		err = decode(data, e.Edges)
	case "reload":
		e.Reload = new(api.Reload)
		err = decode(data, e.Reload)
	}
	return e, err
}
