package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/protobuf/encoding/protojson"

	"paceline/proxy/upstream"
)

// jsonBody reads and writes REST bodies with the contract's own field names. An
// unknown field is an error: a misspelt one would otherwise silently do nothing.
//
// What the decoders complain about quotes the body, which holds prompts; so its
// errors keep only the place and the field's name.
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
	return runtime.DecoderFunc(func(v any) error { return bodyError(d.Decode(v)) })
}

var (
	bodyField   = regexp.MustCompile(`(unknown|duplicate) field "([A-Za-z0-9_]{1,64})"`)
	valueField  = regexp.MustCompile(`invalid value for \w+ field (\w+):`)
	bodyPlace   = regexp.MustCompile(`\(line \d+:\d+\)`)
	upperLetter = regexp.MustCompile(`[A-Z]`)
	errBodyEnds = errors.New("the body is not JSON: it ends too early")
)

// bodyError is a decoder's error without what it quotes. io.EOF, which means no
// body at all, stays: an empty message has none.
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

// messageError is protojson's complaint, cut to the field and the place.
func messageError(text string) error {
	place := bodyPlace.FindString(text)
	if place != "" {
		place = " " + place
	}
	if m := bodyField.FindStringSubmatch(text); m != nil {
		return fmt.Errorf("%s: %s field%s", m[2], m[1], place)
	}
	if m := valueField.FindStringSubmatch(text); m != nil {
		return fmt.Errorf("%s: not a value of the field's type%s", protoName(m[1]), place)
	}
	return fmt.Errorf("the body is not the expected message%s", place)
}

// protoName is the contract's name of a field that protojson calls by its JSON
// name: tokenIds is token_ids.
func protoName(name string) string {
	return upperLetter.ReplaceAllStringFunc(name, func(c string) string { return "_" + strings.ToLower(c) })
}
