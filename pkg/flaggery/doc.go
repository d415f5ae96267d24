// Package flaggery is the Go client for Flaggery's two services: an [Edge]
// answers what a subject gets, an [Admin] changes what there is. The requests
// and answers are those of the HTTP contract, in package api.
//
// # Reading flags
//
//	edge, err := flaggery.NewEdge("http://edge:8081")
//	...
//	flags, err := edge.Flags(ctx, "42")
//	if err == nil && flags.Enabled("checkout") {
//		variant := flags.Variant("checkout")
//		...
//	}
//
// The zero [Flags] has every feature off, so a program that ignores the error
// falls back to what it does without Flaggery.
//
// By default every call is a request. With [Cache] the answers of so many
// subjects are kept, and given again without a request for as long as you say;
// after that a request asks whether they still hold, at less cost on both sides.
// If the edge cannot be reached then, the old answer is given as it is, marked
// Stale, so an application keeps its flags through an outage.
//
// # Changing flags
//
//	admin, err := flaggery.NewAdmin("http://admin:8080", token)
//	...
//	_, err = admin.AddFeature(ctx, api.CreateFeature{Name: "checkout"})
//	_, err = admin.AddVariant(ctx, "checkout", api.CreateVariant{Name: "A"})
//	_, err = admin.AddRollout(ctx, "checkout", "A")
//	_, err = admin.SetRolloutProportion(ctx, "checkout", 0.1, flaggery.Wait(2*time.Second))
//
// The methods have the names and arguments that those of package writer have,
// which does the same straight on a database. Every write takes options: [DryRun]
// checks everything and answers what would change, [Wait] answers once every
// connected edge serves the change, [IfMatch] refuses when somebody else was
// quicker.
//
// Lists and exports are iterators. They read on while you do, and yield an error
// last:
//
//	for feature, err := range admin.Features(ctx) {
//		if err != nil {
//			return err
//		}
//		...
//	}
//
// # Reading your own write
//
// Each [Result] has the revision that the write made. Either let the write wait
// for all edges, or let the read wait for the revision:
//
//	flags, err := edge.Flags(ctx, "42", flaggery.MinRevision(result.Revision, time.Second))
//
// # Errors
//
// What a service refuses comes back as an [*api.Problem], in the chain of the
// error; [CodeOf] is the short way to its code:
//
//	if flaggery.CodeOf(err) == api.SubjectNotFound {
//		...
//	}
//
// Reads that fail for want of a connection, or because the service is not ready
// or overloaded, are tried again: twice unless [Retries] says otherwise, after a
// random delay, and no sooner than the service asks. Writes are never repeated:
// nobody knows whether the first attempt was stored. Every attempt has a
// [Timeout], and every call ends with its context.
//
// # Payloads
//
// A payload that is sent as a json.RawMessage is stored byte for byte, white space
// and escapes included. Payloads in answers are a json.RawMessage, or nil for none:
// decode them into a type of your own.
package flaggery
