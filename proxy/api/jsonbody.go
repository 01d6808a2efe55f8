package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"paceline/proxy/upstream"
)

// jsonBody reads and writes REST bodies with the field names of the contract. An unknown
// field is an error, because a misspelt one would silently have no effect.
//
// Errors of the decoders quote the body, which holds prompts. So the errors here keep only
// the place and the name of the field.
type jsonBody struct{ runtime.JSONPb }

func newJSONBody() *jsonBody {
	return &jsonBody{runtime.JSONPb{
		MarshalOptions:   protojson.MarshalOptions{UseProtoNames: true, EmitUnpopulated: true},
		UnmarshalOptions: protojson.UnmarshalOptions{RecursionLimit: upstream.MaxJSONDepth},
	}}
}

// Unmarshal implements runtime.Marshaler.
func (j *jsonBody) Unmarshal(data []byte, v any) error {
	return bodyError(j.JSONPb.Unmarshal(data, v))
}

// NewDecoder implements runtime.Marshaler.
func (j *jsonBody) NewDecoder(r io.Reader) runtime.Decoder {
	d := j.JSONPb.NewDecoder(r)
	return runtime.DecoderFunc(func(v any) error {
		if m := takesFlagForms(v); m != nil {
			return j.decodeForms(r, m)
		}
		err := d.Decode(v)
		if err == nil {
			upstream.ReleaseBody(r) // a message of a stream is on its way to the queue
		}
		return bodyError(err)
	})
}

// decodeForms decodes a body whose values may have the form of flags.
func (j *jsonBody) decodeForms(r io.Reader, m proto.Message) error {
	data, err := io.ReadAll(r)
	switch {
	case err != nil:
		return bodyError(err)
	case len(bytes.TrimSpace(data)) == 0:
		return io.EOF
	}
	if data, err = fromFlagForms(data, m.ProtoReflect().Descriptor().Fields()); err != nil {
		return err
	}
	return bodyError(j.UnmarshalOptions.Unmarshal(data, m))
}

var (
	bodyField   = regexp.MustCompile(`(unknown|duplicate) field "([A-Za-z0-9_]{1,64})"`)
	valueField  = regexp.MustCompile(`invalid value for (\w+) field (\w+):`)
	bodyPlace   = regexp.MustCompile(`\(line \d+:\d+\)`)
	upperLetter = regexp.MustCompile(`[A-Z]`)
	errBodyEnds = errors.New("the body is not JSON: it ends too early")
)

// bodyError returns a decoder's error without its quotations. It keeps io.EOF, which means
// an empty body: an empty message.
func bodyError(err error) error {
	var (
		tooLarge *http.MaxBytesError
		syntax   *json.SyntaxError
	)
	switch {
	case err == nil, err == io.EOF: //nolint:errorlint // a wrapped EOF is no clean end
		return err
	case errors.As(err, &tooLarge):
		return fmt.Errorf("the body is larger than %d bytes", tooLarge.Limit)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return errBodyEnds
	case errors.As(err, &syntax):
		return fmt.Errorf("the body is not JSON: byte %d is unexpected", syntax.Offset)
	}
	return messageError(err.Error())
}

// messageError returns protojson's error, cut to the field and the place.
func messageError(text string) error {
	place := bodyPlace.FindString(text)
	if place != "" {
		place = " " + place
	}
	if m := bodyField.FindStringSubmatch(text); m != nil {
		return fmt.Errorf("%s: %s field%s", m[2], m[1], place)
	}
	if m := valueField.FindStringSubmatch(text); m != nil {
		form := "not a value of the field's type"
		switch {
		case strings.HasPrefix(m[1], "uint"):
			form = "must be a whole number, 0 or more"
		case m[1] == "bool":
			form = "must be true or false"
		}
		return fmt.Errorf("%s: %s%s", protoName(m[2]), form, place)
	}
	return fmt.Errorf("the body is not the expected message%s", place)
}

// protoName returns the contract's name of a field for its JSON name: token_ids for
// tokenIds.
func protoName(name string) string {
	return upperLetter.ReplaceAllStringFunc(name, func(c string) string { return "_" + strings.ToLower(c) })
}
