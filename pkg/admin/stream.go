package admin

import (
	"bufio"
	"compress/flate"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"iter"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/transfer"
	"github.com/flaggery/flaggery/pkg/web"
	"github.com/flaggery/flaggery/pkg/writer"
)

// stalled is how long an export may stand still before its client counts as gone. What
// keeps moving may take as long as it takes.
const stalled = 30 * time.Second

// An import keeps moving by minBytes in so much time. It takes one of the few slots once
// readAhead has come, or all of it if it is shorter; from then on others wait for it.
const (
	minBytes   = 64 << 10
	readAhead  = 256 << 10
	aheadTime  = 30 * time.Second
	slotTime   = 4 * time.Second // less than others wait for a slot
	checkEvery = time.Second     // the token of an export
)

// importSubjectsInput is the one write whose body is not JSON: it is read as it comes.
type importSubjectsInput struct {
	Writing
	Columns         string `query:"columns" enum:"refuse,ignore" default:"refuse" doc:"What to do about columns of a CSV other than id, weight and groups"`
	Groups          string `query:"groups" enum:"join,replace" default:"join" doc:"Whether subjects stay in groups that their lines do not name. A line that says nothing of groups leaves them alone"`
	Absent          string `query:"absent" enum:"keep,delete" default:"keep" doc:"What to do about subjects that no line has. To delete them takes expect_deleted"`
	ExpectDeleted   int64  `query:"expect_deleted" minimum:"0" doc:"How many subjects the import deletes, as a dry run without it said: any other number is refused"`
	ContentType     string `header:"Content-Type" hidden:"true"`
	ContentEncoding string `header:"Content-Encoding" doc:"gzip, if the body is compressed"`
	expects         bool   // expect_deleted was given
	sent            *importBody
	ahead           *bufio.Reader // of sent
	body            io.Reader
}

// Resolve implements [huma.Resolver]: nothing else gives a handler the body as a
// stream.
func (in *importSubjectsInput) Resolve(hc huma.Context) []error {
	in.expects = hc.Query("expect_deleted") != ""
	in.sent = &importBody{ctx: hc.Context(), r: hc.BodyReader(), now: time.Now, window: aheadTime, left: aheadTime}
	in.ahead = bufio.NewReaderSize(in.sent, readAhead)
	in.body = in.ahead
	if strings.EqualFold(in.ContentEncoding, web.Gzip) {
		in.body = &gunzip{compressed: in.body}
	}
	return nil
}

// importBody holds its sender to a minimum rate, which the time between two reads, our
// own, does not count for. After the end there is no limit: the connection is still
// read, to notice a client that goes away, and the database may have minutes of work.
type importBody struct {
	ctx          context.Context
	r            io.Reader
	now          func() time.Time
	window, left time.Duration // for minBytes
	bytes        int           // of them
}

func (b *importBody) Read(p []byte) (int, error) {
	if err := web.Extend(b.ctx, b.left); err != nil {
		return 0, err
	}
	began := b.now()
	n, err := b.r.Read(p)
	b.left -= b.now().Sub(began)
	if b.bytes += n; b.bytes >= minBytes {
		b.bytes, b.left = 0, b.window
	}
	switch {
	case errors.Is(err, io.EOF):
		if err := web.Extend(b.ctx, 0); err != nil {
			return n, err
		}
	case model.CodeOf(err) != "": // too many requests are under way
	case err != nil || b.left <= 0: // the client's doing, and no fault of ours to look into
		err = model.Errorf(model.ValidationFailed, "the body broke off, or came slower than %d KiB in %s", minBytes>>10, b.window)
	}
	return n, err
}

// gunzip reads what is compressed. It begins with the first read, because the import
// may be refused before that.
type gunzip struct {
	compressed io.Reader
	text       *gzip.Reader
}

func (g *gunzip) Read(p []byte) (n int, err error) {
	if g.text == nil {
		g.text, err = gzip.NewReader(g.compressed)
	}
	if err == nil {
		n, err = g.text.Read(p)
	}
	var corrupt flate.CorruptInputError
	if errors.Is(err, gzip.ErrHeader) || errors.Is(err, gzip.ErrChecksum) || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &corrupt) {
		err = model.Errorf(model.ValidationFailed, "the body is no valid gzip: %s", err)
	}
	return n, err
}

// describeImport documents the body, which huma does not see.
func (a *service) describeImport() {
	schema := &huma.Schema{Type: huma.TypeString}
	operation := a.web.API.OpenAPI().Paths["/v1/import/subjects"].Post
	operation.RequestBody = &huma.RequestBody{
		Required: true,
		Content: map[string]*huma.MediaType{
			"application/jsonl":  {Schema: schema},
			"application/ndjson": {Schema: schema},
			api.MediaNDJSON:      {Schema: schema, Example: "{\"id\": \"42\", \"weight\": 3, \"groups\": [\"friends\"]}\n"},
			api.MediaCSV:         {Schema: schema, Example: "id,weight,groups\n42,3,friends;beta\n"},
		},
	}
}

func (a *service) importSubjects(ctx context.Context, in *importSubjectsInput, o ...writer.Option) (writer.Result[api.Imported], error) {
	lines, err := transfer.Read(in.body, transfer.Format{MediaType: in.ContentType, IgnoreColumns: in.Columns == "ignore"})
	if err != nil {
		return writer.Result[api.Imported]{}, err
	}
	if _, err := in.ahead.Peek(readAhead); err != nil && !errors.Is(err, io.EOF) {
		return writer.Result[api.Imported]{}, err
	}
	in.sent.window, in.sent.left = slotTime, slotTime
	o = append(o, writer.WithToken(web.Caller(ctx).Bearer))
	if in.Groups == "replace" {
		o = append(o, writer.ReplaceGroups())
	}
	if in.Absent == "delete" {
		o = append(o, writer.DeleteAbsent())
	}
	if in.expects {
		o = append(o, writer.ExpectDeleted(in.ExpectDeleted))
	}
	result, err := a.writer.ImportSubjects(ctx, a.metrics.counted(atMost(a.maxLines, lines)), o...)
	if extendErr := web.Extend(ctx, stalled); extendErr != nil && err == nil {
		a.log.DebugContext(ctx, "the client of an import went away", "error", extendErr)
	}
	return result, err
}

// atMost lets limit lines through; one more is a bad line. 0 is no limit.
func atMost(limit int, lines iter.Seq2[api.ImportLine, error]) iter.Seq2[api.ImportLine, error] {
	if limit == 0 {
		return lines
	}
	return func(yield func(api.ImportLine, error) bool) {
		n := 0
		for line, err := range lines {
			if n++; n > limit {
				yield(api.ImportLine{Number: line.Number}, model.Errorf(model.ValidationFailed,
					"is one more than the %d lines that FLAGGERY_MAX_IMPORT_LINES allows: split the file, or use flaggery-admin import", limit))
				return
			}
			if !yield(line, err) {
				return
			}
		}
	}
}

func (a *service) exportSubjects(ctx context.Context, _ *struct{}, begin func(revision int64)) iter.Seq2[api.ImportLine, error] {
	return a.writer.ExportSubjects(ctx, begin)
}

// stream answers with an export as NDJSON.
func stream[I, T any](ctx context.Context, a *service, in *I, export exporter[I, T]) *huma.StreamResponse {
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		begun := false
		items := export(ctx, in, func(revision int64) {
			begun = true
			hc.SetHeader("Content-Type", api.MediaNDJSON)
			setRevision(hc, revision)
			hc.SetStatus(http.StatusOK)
		})
		err := web.Wait(ctx) // for a client that reads
		if err == nil {
			err = transfer.Write(a.newExportBody(ctx, hc.BodyWriter()), items)
		}
		if err == nil {
			return
		}
		if !begun {
			a.web.WriteProblem(hc, err)
			return
		}
		a.log.WarnContext(ctx, "export broke off", "request_id", web.RequestID(ctx), "error", err)
		panic(http.ErrAbortHandler) // the client must not take a part for the whole
	}}
}

// exportBody gives each write its own time, as often as the client takes a few of its
// bytes, and ends with the token that its caller showed.
type exportBody struct {
	ctx     context.Context
	w       io.Writer
	now     func() time.Time
	check   func() error // of the token
	checked time.Time
	every   time.Duration // it is checked
}

func (a *service) newExportBody(ctx context.Context, w io.Writer) *exportBody {
	check := func() error { return a.writer.CheckToken(ctx, web.Caller(ctx).Bearer) }
	return &exportBody{ctx, w, time.Now, check, time.Now(), checkEvery}
}

func (b *exportBody) Write(p []byte) (written int, err error) {
	if now := b.now(); now.Sub(b.checked) >= b.every {
		if err := b.check(); err != nil {
			return 0, err
		}
		b.checked = now
	}
	for err == nil && written < len(p) {
		if err = web.Extend(b.ctx, stalled); err != nil {
			break
		}
		var n int
		n, err = b.w.Write(p[written:min(written+16<<10, len(p))])
		written += n
	}
	return written, err
}

func setRevision(hc huma.Context, revision int64) {
	hc.SetHeader(api.HeaderRevision, strconv.FormatInt(revision, 10))
}
