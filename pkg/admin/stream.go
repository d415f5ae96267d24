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

// stalled is how long an export may make no progress before its client counts as gone.
// With progress, it may take any time.
const stalled = 30 * time.Second

// An import must send minBytes in aheadTime, and in slotTime once it has a slot. It
// takes one of the few slots when readAhead has arrived, or all of a shorter import:
// from then on other imports wait for it.
const (
	minBytes   = 64 << 10
	readAhead  = 256 << 10
	aheadTime  = 30 * time.Second
	slotTime   = 4 * time.Second // less than other imports wait for a slot
	checkEvery = time.Second     // between checks of the token of an export
)

// importSubjectsInput is the only write whose body is no JSON. It is read as a stream.
type importSubjectsInput struct {
	Writing
	Columns         string `query:"columns" enum:"refuse,ignore" default:"refuse" doc:"What to do with CSV columns other than id, weight and groups: refuse the import, or ignore them"`
	Groups          string `query:"groups" enum:"join,replace" default:"join" doc:"join: subjects join the groups that their lines name. replace: they also leave all others. A line without groups changes none"`
	Absent          string `query:"absent" enum:"keep,delete" default:"keep" doc:"What to do with subjects that no line has: keep or delete them. delete requires expect_deleted, except in a dry run"`
	ExpectDeleted   int64  `query:"expect_deleted" minimum:"0" doc:"Number of subjects that the import deletes, as a dry run without this parameter answers it. If the number differs, the import fails"`
	ContentType     string `header:"Content-Type" hidden:"true"`
	ContentEncoding string `header:"Content-Encoding" doc:"gzip if the body is compressed"`
	expects         bool   // expect_deleted was given
	sent            *importBody
	ahead           *bufio.Reader // of sent
	body            io.Reader
}

// Resolve implements [huma.Resolver], the only way to get the body as a stream.
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

// importBody enforces a minimum rate of its sender. The time between two reads does not
// count: that is the import's own. After the end there is no limit: the connection is
// still read, to notice if the client closes it, and the database may work for minutes.
type importBody struct {
	ctx          context.Context
	r            io.Reader
	now          func() time.Time
	window, left time.Duration // for minBytes
	bytes        int           // read in this window
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
	case model.CodeOf(err) != "": // too many requests are in flight
	case err != nil || b.left <= 0: // the client's fault
		err = model.Errorf(model.ValidationFailed, "the body ended early, or was slower than %d KiB in %s", minBytes>>10, b.window)
	}
	return n, err
}

// gunzip decompresses. It begins with the first read, because the import may be
// rejected before that.
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
		err = model.Errorf(model.ValidationFailed, "the body is not valid gzip: %s", err)
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
		a.log.DebugContext(ctx, "the client of an import closed its connection", "error", extendErr)
	}
	return result, err
}

// atMost passes limit lines on; the next one is invalid. 0 is no limit.
func atMost(limit int, lines iter.Seq2[api.ImportLine, error]) iter.Seq2[api.ImportLine, error] {
	if limit == 0 {
		return lines
	}
	return func(yield func(api.ImportLine, error) bool) {
		n := 0
		for line, err := range lines {
			if n++; n > limit {
				yield(api.ImportLine{Number: line.Number}, model.Errorf(model.ValidationFailed,
					"exceeds the maximum of %d lines (FLAGGERY_MAX_IMPORT_LINES): split the file, or use flaggery-admin import", limit))
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
		err := web.Wait(ctx) // for the client to read
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
		a.log.WarnContext(ctx, "export failed", "request_id", web.RequestID(ctx), "error", err)
		panic(http.ErrAbortHandler) // the client must notice that the export is incomplete
	}}
}

// exportBody extends the time limit whenever the client reads some bytes. It fails once
// the caller's token is invalid.
type exportBody struct {
	ctx     context.Context
	w       io.Writer
	now     func() time.Time
	check   func() error // of the token
	checked time.Time
	every   time.Duration // between checks
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
