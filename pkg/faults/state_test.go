package faults

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/flaggery/flaggery/pkg/pgtest"
)

// The admin is killed while it applies a document: all of it is stored, or nothing.
func TestAdminKilledWhileApplying(t *testing.T) {
	t.Parallel()
	f := newFixture(t, pgtest.Open(t)).start(1)
	document := func(round int) object {
		features := object{}
		for i := range 100 {
			features[fmt.Sprintf("killed-%03d", i)] = object{
				"description": fmt.Sprint("round ", round), "variants": object{"A": object{}}, "default": "A",
				"rollout": object{"variant": "A", "proportion": float64(round%10) / 10},
			}
		}
		return object{"version": 1, "owner": "killed", "features": features}
	}
	reads := f.read(2, 5*time.Millisecond, f.edges...)
	began := time.Now()
	f.call("PUT", "/v1/state", document(0))
	took := time.Since(began)

	stored := 0
	rounds := fullOr(100, 4)
	for round := 1; round <= rounds; round++ {
		sent := make(chan struct{})
		go func() {
			c := client{addr: f.admins[0].addr, token: token}
			defer c.close()
			close(sent)
			_, _ = c.send("PUT", "/v1/state", document(round)) // it may be killed first
		}()
		<-sent
		elapse(time.Duration(f.random.Int64N(int64(took))))
		f.admins[0].kill()
		f.admins[0].run()

		var now struct {
			Features map[string]struct {
				Description string
				Rollout     struct{ Proportion float64 }
			}
		}
		if err := json.Unmarshal(f.call("GET", "/v1/state?owner=killed&format=json", nil).body, &now); err != nil {
			t.Fatal(err)
		}
		found := map[string]int{}
		for _, feature := range now.Features {
			found[fmt.Sprint(feature.Description, " at ", feature.Rollout.Proportion)]++
		}
		after, before := fmt.Sprint("round ", round, " at ", float64(round%10)/10), fmt.Sprint("round ", round-1, " at ", float64((round-1)%10)/10)
		switch {
		case found[after] == 100:
			stored++
		case found[before] == 100:
			f.call("PUT", "/v1/state", document(round))
		default:
			t.Fatalf("round %d: part of the document is stored: %v", round, found)
		}
	}
	f.noFailure("admin killed while it applies a document", reads.next())
	answers := f.finish()
	measured(t, "admin killed while it applies a document", figures{
		"kills": rounds, "stored": stored, "not_stored": rounds - stored, "answers_checked": answers,
	})
}
