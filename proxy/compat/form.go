package compat

import (
	"bytes"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"regexp"
	"strconv"

	"paceline/proxy/upstream"
)

// formPath takes a form with a file, and no JSON.
const formPath = "/v1/audio/transcriptions"

// formFields are what stands beside the file.
var formFields = fields{
	"model": word, "language": word, "response_format": word, "timestamp_granularities[]": word, "stream": word,
	"temperature": temperature,
}

// encodedName finds a name that is not written plainly.
var encodedName = regexp.MustCompile(`(?i)(^|[;\s])name\s*\*|\\`)

// checkForm reads a form by formFields. What Go and Python could read as two different
// forms is refused. The error is a *upstream.FieldError.
func checkForm(header http.Header, body []byte) error {
	kind, params, err := mime.ParseMediaType(header.Get("Content-Type"))
	if err != nil || kind != "multipart/form-data" || len(header.Values("Content-Type")) > 1 {
		return upstream.WrongField("body", "must be multipart/form-data")
	}
	seen := map[string]bool{}
	for parts := multipart.NewReader(bytes.NewReader(body), params["boundary"]); ; {
		part, err := parts.NextRawPart()
		if err == io.EOF { //nolint:errorlint // a wrapped EOF is no clean end
			return nil
		}
		if err != nil {
			return upstream.WrongField("body", "is not multipart/form-data")
		}
		disposition := part.Header.Values("Content-Disposition")
		if len(disposition) != 1 || encodedName.MatchString(disposition[0]) || len(part.Header.Values("Content-Transfer-Encoding")) > 0 {
			return upstream.WrongField("body", "must have parts with one plain Content-Disposition each")
		}
		name := part.FormName()
		f, known := formFields[name]
		if !known {
			continue
		}
		if seen[name] {
			return upstream.WrongField(name, "must not stand in the form twice")
		}
		seen[name] = name != "timestamp_granularities[]"
		value, err := io.ReadAll(io.LimitReader(part, maxWord+1))
		if err != nil {
			return upstream.WrongField("body", "is not multipart/form-data")
		}
		if err := checkValue(name, string(value), &f); err != nil {
			return err
		}
	}
}

// checkValue checks a value of a form.
func checkValue(name, value string, f *rule) error {
	switch {
	case len(value) > maxWord:
		return upstream.WrongField(name, "must have at most %d bytes", maxWord)
	case f.number == nil:
		return nil
	}
	n, err := strconv.ParseFloat(value, 64)
	if err != nil || !(n >= f.number.min && n <= f.number.max) { // NaN is neither
		return upstream.WrongField(name, "must be %s", f.number.describe())
	}
	return nil
}
