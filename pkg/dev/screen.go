package dev

import (
	"bytes"
	"io"
	"text/template"
)

// screen is the text that is printed at the start.
type screen struct {
	DataDir, Database string
	Admin, Edge       string // URLs
	Token             string
	TokenFile         string // "" if the token is in no file
	Data              data
	Empty             bool // asked for
}

// data is the kind of data in the database at the start.
type data string

const (
	noData     data = "none"
	sampleData data = "sample"
	otherData  data = "other" // of an earlier start
)

var welcome = template.Must(template.New("").Parse(`
Flaggery is running. Ctrl-C stops it; the data stays in {{.DataDir}}.

  console   {{.Admin}}/   sign in with the token below
  edge      {{.Edge}}   answers from memory
  API docs  {{.Admin}}/docs, {{.Edge}}/docs
  database  {{.Database}}
  token     {{.Token}}
{{- if .TokenFile}}
  terminal  flaggery-admin context add dev --url {{.Admin}} --token-file {{.TokenFile}}
{{- end}}

{{if and .Empty (ne .Data "none") -}}
--empty has no effect: {{.DataDir}} has data of an earlier start. For none, choose another folder with
--data-dir, or stop Flaggery and delete this one.

{{end}}{{if eq .Data "none" -}}
There is no data yet. The console leads from the first buckets to a feature that the edge serves.
Or with curl, in another terminal:

  # ten buckets, and a subject in one of them
  curl -H 'Authorization: Bearer {{.Token}}' -H 'Content-Type: application/json' -d '{"amount": 10}' {{.Admin}}/v1/buckets
  curl -H 'Authorization: Bearer {{.Token}}' -H 'Content-Type: application/json' -d '{"id": "42"}' '{{.Admin}}/v1/subjects?wait=2s'

  # what the subject gets: nothing yet, as there are no features
  curl '{{.Edge}}/v1/subject/flags?subject_id=42'
{{else if eq .Data "other" -}}
The data is that of an earlier start. Without {{.DataDir}} the next start makes sample data.
With curl, in another terminal:

  # the features
  curl -H 'Authorization: Bearer {{.Token}}' {{.Admin}}/v1/features
{{else -}}
The data is an invented product's, and so are its last three weeks. With curl, in another terminal:

  # what subject 42 gets
  curl '{{.Edge}}/v1/subject/flags?subject_id=42'

  # why it gets that
  curl -H 'Authorization: Bearer {{.Token}}' {{.Admin}}/v1/subjects/42/explain

  # a feature that is switched off: on again, and the first line shows it
  curl -X PATCH -H 'Authorization: Bearer {{.Token}}' -H 'Content-Type: application/json' -d '{"off": false}' '{{.Admin}}/v1/features/mobile.push-digest?wait=2s'
{{end}}
`))

// print writes the screen in one piece, as the services log at the same time.
func (s *screen) print(w io.Writer) error {
	var text bytes.Buffer
	if err := welcome.Execute(&text, s); err != nil {
		return err
	}
	_, err := w.Write(text.Bytes())
	return err
}
