package admin

import (
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/pgtest"
	"github.com/flaggery/flaggery/pkg/postgres"
)

func (c client) load(mediaType string, body any, query string) answer {
	c.t.Helper()
	return c.do("POST", "/v1/import/subjects"+query, body, "Content-Type", mediaType)
}

func TestImportAndExport(t *testing.T) {
	t.Parallel()
	c := start(t)
	c.load(api.MediaNDJSON, "{\"id\":\"a\"}\n", "").isProblem(409, model.NoBuckets, "")
	c.must("POST", "/v1/buckets", `{"amount": 3}`)
	c.must("POST", "/v1/groups", `{"name": "friends"}`)
	c.load(api.MediaNDJSON, "{\"id\":\"a\",\"weight\":5}\n{\"id\":\"b/ü\",\"groups\":[\"friends\"]}\n", "?dry_run=true").
		is(200, `{"dry_run": true, "affected": {"subjects": 0, "weight": 0}, "changes": [], "result": {"created": 2, "updated": 0, "unchanged": 0, "deleted": 0}}`)
	c.load(api.MediaNDJSON, "{\"id\":\"a\",\"weight\":5}\n{\"id\":\"b/ü\",\"groups\":[\"friends\"]}\n", "").
		is(200, `{"created": 2, "updated": 0, "unchanged": 0, "deleted": 0}`)
	c.load("text/csv; charset=utf-8", "id,weight,groups\na,6,friends\nb/ü,,\nc,0,\n", "").
		is(200, `{"created": 1, "updated": 1, "unchanged": 1, "deleted": 0}`)
	c.load("application/jsonl", "\xef\xbb\xbf{\"weight\":6.0,\"id\":\"a\"}\n", "").is(200, `{"created": 0, "updated": 0, "unchanged": 1, "deleted": 0}`)
	c.load(api.MediaCSV, "id;name;groups\na;Anna;\"friends;friends\"\n;;\n", "?columns=ignore").is(200, `{"created": 0, "updated": 0, "unchanged": 1, "deleted": 0}`)
	for _, encoding := range []string{"gzip", "GZIP", "identity"} {
		text := "{\"id\":\"a\"}\n"
		if encoding != "identity" {
			text = compressed(t, text)
		}
		c.do("POST", "/v1/import/subjects", text, "Content-Type", api.MediaNDJSON, "Content-Encoding", encoding).
			is(200, `{"created": 0, "updated": 0, "unchanged": 1, "deleted": 0}`)
	}

	a := c.must("GET", "/v1/export/subjects", nil)
	const want = "{\"id\":\"a\",\"weight\":6,\"groups\":[\"friends\"]}\n{\"id\":\"b/ü\",\"weight\":1,\"groups\":[\"friends\"]}\n{\"id\":\"c\",\"weight\":0}\n"
	if string(a.Body) != want || a.Header.Get("Content-Type") != api.MediaNDJSON {
		t.Errorf("%v %s", a.Header, a.Body)
	}
	// What was exported is imported without a change.
	c.load(api.MediaNDJSON, string(a.Body), "").is(200, `{"created": 0, "updated": 0, "unchanged": 3, "deleted": 0}`)
}

func TestImportReplaces(t *testing.T) {
	t.Parallel()
	c := start(t)
	populate(c)
	c.must("POST", "/v1/abtests/live/stop", nil) // whose draw would decide what changes
	c.must("PUT", "/v1/groups/friends/subjects/1", nil)
	const file = "groups;id\n;1\nfriends;42\n"
	for _, query := range []string{"?groups=join", "?groups=join&absent=keep&expect_deleted=0"} {
		c.load(api.MediaCSV, file, query).is(200, `{"created": 0, "updated": 0, "unchanged": 2, "deleted": 0}`)
	}
	c.load(api.MediaNDJSON, `{"id": "1"}`, "?groups=replace").is(200, `{"created": 0, "updated": 0, "unchanged": 1, "deleted": 0}`)
	c.load(api.MediaCSV, file, "?groups=replace").is(200, `{"created": 0, "updated": 1, "unchanged": 1, "deleted": 0}`)
	c.must("GET", "/v1/groups/friends/subjects", nil).is(200, `{"items": ["42"]}`)

	const only = `{"id": "1"}`
	p := c.load(api.MediaNDJSON, only, "?absent=delete").isProblem(422, model.ValidationFailed, "query.expect_deleted")
	if text := fmt.Sprint(p.Errors); !strings.Contains(text, "must be 1, as the import would delete 1 subjects, is missing") {
		t.Error(text)
	}
	c.load(api.MediaNDJSON, only, "?absent=delete&expect_deleted=0").isProblem(422, model.ValidationFailed, "query.expect_deleted")
	c.load(api.MediaNDJSON, only, "?absent=delete&dry_run=true").
		is(200, `{"dry_run": true, "affected": {"subjects": 1, "weight": 1},
			"changes": [{"feature": "foobar", "from": "B", "to": null, "subjects": 1, "weight": 1}],
			"result": {"created": 0, "updated": 0, "unchanged": 1, "deleted": 1}}`)
	c.load(api.MediaNDJSON, only, "?absent=delete&expect_deleted=1").is(200, `{"created": 0, "updated": 0, "unchanged": 1, "deleted": 1}`)
	c.must("GET", "/v1/export/subjects", nil).is(200, `{"id":"1","weight":1}`)
}

func compressed(t *testing.T, text string) string {
	t.Helper()
	var out strings.Builder
	w := gzip.NewWriter(&out)
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestImportReadsWhatItSays(t *testing.T) {
	t.Parallel()
	c := start(t)
	c.must("POST", "/v1/buckets", `{"amount": 1}`)
	whole := compressed(t, "{\"id\":\"a\"}\n")
	damaged := whole[:len(whole)-8] + "\x00" + whole[len(whole)-7:] // its checksum
	for _, row := range []struct {
		mediaType, encoding, text string
		status                    int
		code                      model.Code
		at, says                  string
	}{
		{"text/plain", "", "{}", 415, model.UnsupportedMediaType, "", `Content-Type must be application/jsonl or application/ndjson or application/x-ndjson or text/csv, is "text/plain"`},
		{"", "", "{}", 415, model.UnsupportedMediaType, "", `or text/csv, is ""`},
		{api.MediaNDJSON, "br", whole, 415, model.UnsupportedMediaType, "", `Content-Encoding must be gzip, is "br"`},
		{api.MediaNDJSON, "gzip, gzip", whole, 415, model.UnsupportedMediaType, "", `Content-Encoding must be gzip, is "gzip, gzip"`},
		{api.MediaNDJSON, "gzip", "{}", 422, model.ValidationFailed, "line 1", "the body is not valid gzip: unexpected EOF"},
		{api.MediaNDJSON, "gzip", "{\"id\":\"abcdefgh\"}", 422, model.ValidationFailed, "line 1", "the body is not valid gzip: gzip: invalid header"},
		{api.MediaNDJSON, "gzip", whole[:len(whole)-1], 422, model.ValidationFailed, "line 2", "the body is not valid gzip: unexpected EOF"},
		{api.MediaNDJSON, "gzip", damaged, 422, model.ValidationFailed, "line 2", "the body is not valid gzip: gzip: invalid checksum"},
		{api.MediaNDJSON, "gzip", compressed(t, ""), 422, model.ValidationFailed, "line 1", "the import has no line"},
		{api.MediaNDJSON, "gzip", "", 422, model.ValidationFailed, "line 1", "the import has no line"},
		{api.MediaNDJSON, "", "", 422, model.ValidationFailed, "line 1", "the import has no line"},
		{api.MediaCSV, "", "\xef\xbb\xbfid\n", 422, model.ValidationFailed, "line 2", "the import has no line"},
	} {
		header := []string{"Content-Type", row.mediaType}
		if row.encoding != "" {
			header = append(header, "Content-Encoding", row.encoding)
		}
		p := c.do("POST", "/v1/import/subjects", row.text, header...).isProblem(row.status, row.code, row.at)
		if text := fmt.Sprint(p.Detail, p.Errors); !strings.Contains(text, row.says) {
			t.Errorf("%s %s %q: does not say %q: %s", row.mediaType, row.encoding, row.text, row.says, text)
		}
	}
	for query, at := range map[string]string{
		"columns=all": "query.columns", "groups=leave": "query.groups", "absent=drop": "query.absent",
		"expect_deleted=-1": "query.expect_deleted", "expect_deleted=": "query.expect_deleted", "expect_deleted=1": "query.expect_deleted",
	} {
		c.load(api.MediaCSV, "id\na\n", "?"+query).isProblem(422, model.ValidationFailed, at)
	}
	p := c.do("POST", "/v1/subjects", compressed(t, `{"id": "a"}`), "Content-Encoding", "gzip").isProblem(415, model.UnsupportedMediaType, "")
	if !strings.Contains(p.Detail, `this call reads no Content-Encoding, is "gzip"`) {
		t.Error(p.Detail)
	}
	c.do("GET", "/v1/subjects", nil).is(200, `{"items": []}`)
}

func TestImportIsAllOrNothing(t *testing.T) {
	t.Parallel()
	c := start(t)
	c.must("POST", "/v1/buckets", `{"amount": 1}`)
	long := strings.Repeat("x", 10<<20)
	for _, row := range []struct {
		name, mediaType, text string
		at                    string // of the first fault
		says                  string
	}{
		{"no JSON", api.MediaNDJSON, "{\"id\":\"a\"}\nb\n", "line 2", ""},
		{"an id that is there twice", api.MediaNDJSON, "{\"id\":\"a\",\"id\":\"b\"}\n", "line 1", "two members \"id\""},
		{"an unpaired surrogate", api.MediaNDJSON, "{\"id\":\"a\"}\n{\"id\":\"\\ud800\"}\n", "line 2", "surrogate"},
		{"another letter case", api.MediaNDJSON, "{\"Id\":\"a\"}\n", "line 1", "Id is not known here"},
		{"UTF-16", api.MediaCSV, "\xff\xfei\x00d\x00\n\x00", "line 1", "is UTF-16: save it as UTF-8"},
		{"no header", api.MediaCSV, "a,3\nb,4\n", "line 1", "must be a header with a column id, such as id,weight,groups, is \"a,3\""},
		{"another column", api.MediaCSV, "id,name\na,Anna\n", "line 1", "\"name\""},
		{"no id", api.MediaNDJSON, "{\"id\":\"a\"}\n\n{\"weight\":1}\n", "line 3", "id"},
		{"a long id", api.MediaNDJSON, "{\"id\":\"" + long[:257] + "\"}\n", "line 1", "256"},
		{"a negative weight", api.MediaNDJSON, "{\"id\":\"a\",\"weight\":-1}\n", "line 1", "weight"},
		{"a fractional weight", api.MediaNDJSON, "{\"id\":\"a\",\"weight\":0.5}\n", "line 1", "weight"},
		{"a weight too large", api.MediaCSV, "id,weight\na,9007199254740992\n", "line 2", "weight"},
		{"a group that is not there", api.MediaNDJSON, "{\"id\":\"a\",\"groups\":[\"none\"]}\n", "line 1", "none"},
		{"an id twice", api.MediaCSV, "id\na\nb\na\n", "line 4", "a"},
		{"a line of 10 MB", api.MediaNDJSON, "{\"id\":\"a\"}\n{\"id\":\"" + long + "\"}\n", "line 2", "1 MiB"},
		{"a record of 10 MB", api.MediaCSV, "id\na\n" + long + "\n", "line 3", "1 MiB"},
	} {
		p := c.load(row.mediaType, row.text, "").isProblem(422, model.ValidationFailed, row.at)
		if !strings.Contains(fmt.Sprint(p.Errors), row.says) {
			t.Errorf("%s: does not name %q: %+v", row.name, row.says, p)
		}
	}
	p := c.load(api.MediaNDJSON, strings.Repeat("no\n", 1000), "").isProblem(422, model.ValidationFailed, "line 1")
	if len(p.Errors) != 100 || p.Errors[99].Location != "line 100" {
		t.Errorf("%d faults", len(p.Errors))
	}
	c.do("GET", "/v1/subjects", nil).is(200, `{"items": []}`)
}

func TestImportThatBreaksOff(t *testing.T) {
	t.Parallel()
	c := start(t)
	c.must("POST", "/v1/buckets", `{"amount": 1}`)
	conn, err := net.Dial("tcp", strings.TrimPrefix(c.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST /v1/import/subjects HTTP/1.1\r\nHost: admin\r\nAuthorization: Bearer %s\r\n"+
		"Content-Type: application/x-ndjson\r\nContent-Length: 1000\r\n\r\n{\"id\":\"a\"}\n{\"id\"", c.token)
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != 422 || !strings.Contains(string(text), "ended early") {
		t.Errorf("%d %s %v", response.StatusCode, text, err)
	}
	c.do("GET", "/v1/subjects", nil).is(200, `{"items": []}`)
}

// A long import takes neither memory nor the time limits of short requests: the
// body is made while it is read.
func TestImportStreams(t *testing.T) {
	t.Parallel()
	c := start(t)
	c.must("POST", "/v1/buckets", `{"amount": 10}`)
	const count = 20_000
	r, w := io.Pipe()
	go func() {
		for i := range count {
			fmt.Fprintf(w, "{\"id\":\"%d\",\"weight\":%d}\n", i, i%100)
		}
		_ = w.Close()
	}()
	c.load(api.MediaNDJSON, r, "").is(200, fmt.Sprintf(`{"created": %d, "updated": 0, "unchanged": 0, "deleted": 0}`, count))
	if lines := strings.Count(string(c.must("GET", "/v1/export/subjects", nil).Body), "\n"); lines != count {
		t.Errorf("%d lines", lines)
	}
	if a := c.must("GET", "/metrics", nil); !strings.Contains(string(a.Body), fmt.Sprintf("flaggery_admin_import_lines_total %d\n", count)) {
		t.Error("the lines are not counted")
	}
}

func TestImportHasSoManyLinesAtMost(t *testing.T) {
	t.Parallel()
	c := startOn(t, pgtest.Open(t), func(c *Config) { c.MaxImportLines = 3 })
	c.must("POST", "/v1/buckets", `{"amount": 1}`)
	c.load(api.MediaNDJSON, linesOf(3), "").is(200, `{"created": 3, "updated": 0, "unchanged": 0, "deleted": 0}`)
	a := c.load(api.MediaNDJSON, linesOf(5), "")
	if a.isProblem(422, model.ValidationFailed, "line 4"); !strings.Contains(string(a.Body), "FLAGGERY_MAX_IMPORT_LINES") {
		t.Errorf("%s", a.Body)
	}
}

// linesOf is an import of so many subjects.
func linesOf(n int) string {
	var text strings.Builder
	for i := range n {
		fmt.Fprintf(&text, "{\"id\": \"%d\"}\n", i)
	}
	return text.String()
}

// A failure before the answer has begun is a problem. After that the connection
// breaks off, so that no client takes a part for the whole.
func TestExportThatFails(t *testing.T) {
	t.Parallel()
	dbURL := pgtest.Open(t)
	c := startOn(t, dbURL)
	db, err := postgres.Open(t.Context(), dbURL, postgres.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rename := func(table string) {
		if _, err := db.SQL().ExecContext(t.Context(), "ALTER TABLE "+table+" RENAME TO renamed_"+table); err != nil {
			t.Fatal(err)
		}
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.url+"/v1/export/subjects", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+c.token)
	rename("subject")
	if response, err := http.DefaultTransport.RoundTrip(request); !errors.Is(err, io.EOF) {
		t.Errorf("%+v, %v", response, err)
	}
	rename("state")
	c.do("GET", "/v1/export/subjects", nil).isProblem(500, "", "")
}

// A sender has to keep a minimum rate, whatever time we take ourselves.
func TestImportsThatTrickleAreCutOff(t *testing.T) {
	t.Parallel()
	var now time.Time
	sent := 0
	sender := func(size int, pause time.Duration) *importBody {
		sent = 0
		r := readerFunc(func(p []byte) (int, error) {
			now = now.Add(pause)
			sent += size
			return size, nil
		})
		return &importBody{ctx: t.Context(), r: r, now: func() time.Time { return now }, window: slotTime, left: slotTime}
	}
	p := make([]byte, minBytes)
	steady := sender(minBytes/4, time.Second-time.Millisecond)
	for range 1000 {
		if _, err := steady.Read(p); err != nil {
			t.Fatalf("after %d bytes: %v", sent, err)
		}
		now = now.Add(time.Hour) // which we take
	}
	trickle := sender(1, time.Second)
	var err error
	for err == nil {
		_, err = trickle.Read(p)
	}
	if model.CodeOf(err) != model.ValidationFailed || sent != 4 || !strings.Contains(err.Error(), "slower than 64 KiB in 4s") {
		t.Errorf("after %d bytes: %v", sent, err)
	}
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// An export ends soon after its token.
func TestExportEndsWithItsToken(t *testing.T) {
	t.Parallel()
	now := time.Now()
	var out strings.Builder
	valid := error(nil)
	b := &exportBody{t.Context(), &out, func() time.Time { return now }, func() error { return valid }, now, checkEvery}
	write := func() error {
		_, err := io.WriteString(b, strings.Repeat("x", 40<<10))
		return err
	}
	if err := write(); err != nil {
		t.Fatal(err)
	}
	valid = model.Errorf(model.Unauthenticated, "revoked")
	if err := write(); err != nil {
		t.Errorf("it is looked up every second, not at each write: %v", err)
	}
	now = now.Add(checkEvery)
	if err := write(); model.CodeOf(err) != model.Unauthenticated || out.Len() != 80<<10 {
		t.Errorf("%d bytes, error %v", out.Len(), err)
	}
}
