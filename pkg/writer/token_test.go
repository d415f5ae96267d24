package writer

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/auth"
	"github.com/flaggery/flaggery/pkg/model"
)

func TestTokens(t *testing.T) {
	w := newFixture(t)
	ctx := t.Context()
	expires := w.now.Add(time.Hour)
	dry := must[api.Token](t)(w.CreateToken(ctx, api.NewToken{Name: "ci", Role: api.EditorRole}, DryRun()))
	if dry.Value.Token != "" || dry.Value.Role != api.EditorRole || dry.Revision != 0 {
		t.Errorf("a dry run made %+v", dry)
	}
	made := must[api.Token](t)(w.CreateToken(ctx, api.NewToken{Name: "ci", Role: api.EditorRole, ExpiresAt: &expires}, By("ann")))
	token := made.Value
	if made.Revision != 1 || !strings.HasPrefix(token.Token, token.Prefix) || !token.CreatedAt.Equal(w.now) || !token.ExpiresAt.Equal(expires) || token.UsedAt != nil {
		t.Errorf("made %+v", made)
	}
	twin := must[api.Token](t)(w.CreateToken(ctx, api.NewToken{Name: "ci", Role: api.AdminRole})).Value
	if twin.ID <= token.ID || twin.Token == token.Token {
		t.Errorf("made %+v after %+v", twin, token)
	}

	// The secret is stored nowhere.
	for _, table := range []string{"token", "audit", "change"} {
		for _, row := range w.column(`SELECT t::text FROM ` + table + ` t`) {
			if strings.Contains(row, token.Token[len(token.Prefix):]) {
				t.Errorf("%s has the secret: %s", table, row)
			}
		}
	}
	hash, _ := auth.HashToken(token.Token)
	if found := w.one(`SELECT count(*) FROM audit WHERE after::text LIKE '%' || $1 || '%'`, fmt.Sprintf("%x", hash)); found != "0" {
		t.Error("the audit has the hash")
	}
	if who := w.one(`SELECT actor || action || resource FROM audit WHERE revision = 1`); who != fmt.Sprintf("anncreatetokens/%d", token.ID) {
		t.Errorf("audit of the creation: %s", who)
	}

	// Whose it is, and when it was used: to the minute.
	for i, row := range []struct {
		after time.Duration
		used  string
	}{{0, "12:00:00"}, {59 * time.Second, "12:00:00"}, {time.Second, "12:01:00"}, {30 * time.Minute, "12:31:00"}} {
		w.now = w.now.Add(row.after)
		got, err := w.Authenticate(ctx, token.Token)
		if err != nil || got.ID != token.ID || got.Name != "ci" || got.Role != api.EditorRole || got.Token != "" {
			t.Errorf("%+v, error %v", got, err)
		}
		if used := w.one(`SELECT to_char(used_at AT TIME ZONE 'UTC', 'HH24:MI:SS') FROM token WHERE id = $1`, token.ID); used != row.used {
			t.Errorf("use %d: noted %s, want %s", i, used, row.used)
		}
	}
	if revision := w.one(`SELECT revision FROM state`); revision != "2" {
		t.Errorf("using tokens made revision %s", revision)
	}

	page := must[api.Page[api.Token]](t)(w.Tokens(ctx, Page{Limit: 1})).Value
	if len(page.Items) != 1 || page.Items[0].ID != token.ID || page.Items[0].Token != "" || page.Items[0].UsedAt == nil || page.Next != fmt.Sprint(token.ID) {
		t.Errorf("first page %+v", page)
	}
	page = must[api.Page[api.Token]](t)(w.Tokens(ctx, Page{After: page.Next})).Value
	if len(page.Items) != 1 || page.Items[0].ID != twin.ID || page.Next != "" {
		t.Errorf("last page %+v", page)
	}

	// Who is not let in.
	w.now = expires.Add(-time.Microsecond)
	if _, err := w.Authenticate(ctx, token.Token); err != nil {
		t.Error(err)
	}
	w.now = expires
	_, err := w.Authenticate(ctx, token.Token)
	wantError(t, err, model.Unauthenticated, "expired at 2027-01-01T13:00:00Z")
	if has, err := w.HasAdminToken(ctx); !has || err != nil {
		t.Errorf("an admin token: %v, error %v", has, err)
	}
	must[api.Token](t)(w.RevokeToken(ctx, twin.ID, DryRun()))
	if _, err := w.Authenticate(ctx, twin.Token); err != nil {
		t.Error(err)
	}
	revoked := must[api.Token](t)(w.RevokeToken(ctx, twin.ID))
	if revoked.Revision != 3 || revoked.Value.Name != "ci" {
		t.Errorf("revoked %+v", revoked)
	}
	must[api.Token](t)(w.BeginSession(ctx, NewSession{Name: "ann", Role: api.ViewerRole, Secret: auth.NewToken(), Expires: w.now.Add(time.Hour)}))
	if changes := w.one(`SELECT count(*) FROM change WHERE config AND tokens AND label IS NULL`); changes != "4" {
		t.Errorf("%s changes of tokens alone", changes)
	}
	_, gone := w.Authenticate(ctx, twin.Token)
	wantError(t, gone, model.Unauthenticated, "unknown or was revoked")
	_, never := w.Authenticate(ctx, auth.NewToken())
	if never == nil || gone == nil || never.Error() != gone.Error() {
		t.Errorf("revoked: %v; never made: %v", gone, never)
	}
	for _, damaged := range []string{"", token.Token[1:], token.Token + "A", strings.ToUpper(token.Token)} {
		_, err := w.Authenticate(ctx, damaged)
		wantError(t, err, model.Unauthenticated, "damaged")
	}
	_, err = w.RevokeToken(ctx, twin.ID)
	wantError(t, err, model.TokenNotFound)
	_, err = w.RevokeToken(ctx, token.ID, IfMatch(1))
	wantError(t, err, model.PreconditionFailed)
	if has, err := w.HasAdminToken(ctx); has || err != nil {
		t.Errorf("an admin token: %v, error %v", has, err)
	}
}

func TestTokensRefused(t *testing.T) {
	w := newFixture(t)
	ctx := t.Context()
	for _, row := range []struct {
		create api.NewToken
		fault  string
	}{
		{api.NewToken{Role: api.ViewerRole}, "body.name must not be empty"},
		{api.NewToken{Name: strings.Repeat("é", 65), Role: api.ViewerRole}, "body.name must have at most 128 bytes, has 130"},
		{api.NewToken{Name: "a\nb", Role: api.ViewerRole}, "body.name must not hold control"},
		{api.NewToken{Name: "ann\u200b", Role: api.ViewerRole}, "body.name must not hold characters that do not show, holds U+200B"},
		{api.NewToken{Name: "\u202enna", Role: api.ViewerRole}, "holds U+202E"},
		{api.NewToken{Name: "an\u00adn", Role: api.ViewerRole}, "holds U+00AD"},
		{api.NewToken{Name: "ann\u00a0b", Role: api.ViewerRole}, "holds U+00A0"},
		{api.NewToken{Name: "ann@example.com (sub 1)", Role: api.ViewerRole}, `body.name must not hold " (sub "`},
		{api.NewToken{Name: " a", Role: api.ViewerRole}, "body.name must not begin or end"},
		{api.NewToken{Name: "FLAGGERY_ADMIN_TOKEN", Role: api.ViewerRole}, "body.name must not be"},
		{api.NewToken{Name: "Library", Role: api.ViewerRole}, "body.name must not be"},
		{api.NewToken{Name: "a", Role: "root"}, "body.role must be viewer, editor, admin or client"},
		{api.NewToken{Name: "a"}, "body.role"},
		{api.NewToken{Name: "a", Role: api.ViewerRole, Scope: []string{"*"}}, "body.scope must be empty for role viewer"},
		{api.NewToken{Name: "a", Role: api.EditorRole, Scope: []string{"a b"}}, `body.scope must hold globs`},
		{api.NewToken{Name: "a", Role: api.ViewerRole, ExpiresAt: &w.now}, "body.expires_at must be in the future, it is 2027-01-01T12:00:00Z now"},
		{api.NewToken{Name: "a", Role: api.ViewerRole, ExpiresAt: ptr(w.now.AddDate(8000, 0, 0))}, "body.expires_at"},
	} {
		_, err := w.CreateToken(ctx, row.create)
		wantError(t, err, model.ValidationFailed, row.fault)
	}
	for _, after := range []string{"x", "0", "9223372036854775808"} {
		_, err := w.Tokens(ctx, Page{After: after})
		wantError(t, err, model.ValidationFailed, "query.after")
	}
	for _, name := range []string{"a", "alice@example.com", "Build & deploy 7", "Анна (ops) 👩", strings.Repeat("é", 64)} {
		must[api.Token](t)(w.CreateToken(ctx, api.NewToken{Name: name, Role: api.ClientRole}))
	}
}

// A token keeps its scope, which its sessions have too.
func TestScopesOfTokens(t *testing.T) {
	w := newFixture(t)
	ctx := t.Context()
	scope := []string{"checkout.*", "web-?"}
	token := must[api.Token](t)(w.CreateToken(ctx, api.NewToken{Name: "ci", Role: api.EditorRole, Scope: scope})).Value
	session := auth.NewToken()
	must[api.Token](t)(w.BeginSession(ctx, NewSession{Name: "ci", Role: api.EditorRole, Secret: session, Expires: w.now.Add(time.Hour), Token: token.ID}))
	everything := must[api.Token](t)(w.CreateToken(ctx, api.NewToken{Name: "ci", Role: api.EditorRole, Scope: []string{}})).Value
	for secret, want := range map[string][]string{token.Token: scope, session: scope, everything.Token: {}} {
		found, err := w.Authenticate(ctx, secret)
		if err != nil || !slices.Equal(found.Scope, want) {
			t.Errorf("scope %q, error %v, want %q", found.Scope, err, want)
		}
	}
	for i, item := range must[api.Page[api.Token]](t)(w.Tokens(ctx, Page{})).Value.Items {
		if want := [][]string{scope, scope, {}}[i]; !slices.Equal(item.Scope, want) {
			t.Errorf("listed %+v, want scope %q", item, want)
		}
	}
	if noted := w.column(`SELECT after->>'scope' FROM audit ORDER BY revision`); !slices.Equal(noted, []string{`["checkout.*","web-?"]`, `["checkout.*","web-?"]`, ""}) {
		t.Errorf("the audit has the scopes %q", noted)
	}
	_, err := w.sql.Exec(`UPDATE token SET role = 'admin'`)
	if err == nil || !strings.Contains(err.Error(), "token_scope_check") {
		t.Errorf("an admin with a scope: %v", err)
	}
}

// What the routes do not reach with a scope is refused all the same, and what changes
// nothing is not.
func TestWithinScope(t *testing.T) {
	w := newFixture(t)
	ctx := t.Context()
	within := Within(auth.Scope{"in.*", "in"})
	must[api.BucketIDs](t)(w.IncreaseBuckets(ctx, 1))
	must[api.Feature](t)(w.AddFeature(ctx, api.CreateFeature{Name: "out", Description: "text"}))
	_, err := w.CreateToken(ctx, api.NewToken{Name: "more", Role: api.EditorRole}, within)
	wantError(t, err, model.Forbidden, "the scope of the token (in.*, in) does not include tokens/1")
	_, err = w.ImportSubjects(ctx, linesOf(api.ImportLine{ID: "1"}), within)
	wantError(t, err, model.Forbidden, "the scope of the token (in.*, in) does not include subjects")
	_, err = w.PatchFeature(ctx, "out", api.PatchFeature{Description: ptr("other")}, within)
	wantError(t, err, model.Forbidden, `the scope of the token (in.*, in) does not include "out"`)
	same := must[api.Feature](t)(w.PatchFeature(ctx, "out", api.PatchFeature{Description: ptr("text")}, within))
	must[api.Feature](t)(w.AddFeature(ctx, api.CreateFeature{Name: "in"}, within))
	if same.Revision != 2 || w.one(`SELECT revision FROM state`) != "3" {
		t.Errorf("unchanged at revision %d, now at %s", same.Revision, w.one(`SELECT revision FROM state`))
	}
}

func TestExpiredTokensAreForgotten(t *testing.T) {
	w := newFixture(t)
	ctx := t.Context()
	for _, expires := range []*time.Time{nil, ptr(w.now.Add(time.Hour)), ptr(w.now.Add(2 * time.Hour))} {
		must[api.Token](t)(w.CreateToken(ctx, api.NewToken{Name: "session", Role: api.EditorRole, ExpiresAt: expires}))
	}
	for _, row := range []struct {
		after time.Duration
		left  int
	}{{time.Hour + 30*24*time.Hour, 3}, {time.Microsecond, 2}, {time.Hour, 1}, {time.Hour, 1}} {
		w.now = w.now.Add(row.after)
		if err := w.Prune(ctx, 1000*time.Hour); err != nil {
			t.Fatal(err)
		}
		if left := must[api.Page[api.Token]](t)(w.Tokens(ctx, Page{})); len(left.Value.Items) != row.left || left.Revision != 3 {
			t.Errorf("after %v: %+v", row.after, left)
		}
	}
}

// A token whose use cannot be stored is let in, and the logger is given the reason.
func TestUseOfATokenNotStored(t *testing.T) {
	w := newFixture(t)
	ctx := t.Context()
	token := must[api.Token](t)(w.CreateToken(ctx, api.NewToken{Name: "ci", Role: auth.ViewerRole})).Value
	_, err := w.sql.Exec(`
		CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$;
		CREATE TRIGGER fail BEFORE UPDATE ON token FOR EACH ROW EXECUTE FUNCTION fail()`)
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	logging := New(w.db, Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	for _, writer := range []*Writer{w.Writer, logging} {
		if found, err := writer.Authenticate(ctx, token.Token); err != nil || found.Name != "ci" {
			t.Errorf("found %+v, error %v", found, err)
		}
	}
	if text := log.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, `msg="use of a token not stored" token=1 error=`) {
		t.Errorf("logged %q", text)
	}
}
