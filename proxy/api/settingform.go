package api

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "paceline/proto/paceline/v1"
)

// SettingText returns a field of m in the form of flags: 5ms, unbatched, 16. A field that
// is a message must be a duration.
func SettingText(m protoreflect.Message, f protoreflect.FieldDescriptor) string {
	v := m.Get(f)
	switch {
	case f.Enum() != nil:
		return shortName(f.Enum(), f.Enum().Values().ByNumber(v.Enum()))
	case f.Message() != nil:
		return v.Message().Interface().(*durationpb.Duration).AsDuration().String()
	}
	return v.String()
}

// SettingChoices returns the values of a field in the form of flags, or nil if it takes any
// number or duration.
func SettingChoices(f protoreflect.FieldDescriptor) (names []string) {
	switch {
	case f.Enum() != nil:
		for i := 1; i < f.Enum().Values().Len(); i++ { // 0 keeps the setting
			names = append(names, shortName(f.Enum(), f.Enum().Values().Get(i)))
		}
	case f.Kind() == protoreflect.BoolKind:
		names = []string{"true", "false"}
	}
	return names
}

// shortName returns unbatched for BATCH_MODE_UNBATCHED.
func shortName(e protoreflect.EnumDescriptor, v protoreflect.EnumValueDescriptor) string {
	if v == nil {
		return ""
	}
	prefix := strings.TrimSuffix(string(e.Values().Get(0).Name()), "UNSPECIFIED")
	return strings.ToLower(strings.TrimPrefix(string(v.Name()), prefix))
}

// ParseSettings reads a JSON object of settings, whose values may have the form of flags. An
// error names the field and the expected form.
func ParseSettings(data []byte) (*pb.Settings, error) {
	s := new(pb.Settings)
	return s, newJSONBody().NewDecoder(bytes.NewReader(data)).Decode(s)
}

// takesFlagForms returns the message that a body of the admin service is decoded into, or nil
// for other bodies.
func takesFlagForms(v any) proto.Message {
	switch v := v.(type) {
	case **pb.Settings: // as the gateway passes the field of a request
		*v = cmp.Or(*v, new(pb.Settings))
		return *v
	case *pb.Settings:
		return v
	case *pb.FlushCacheRequest:
		return v
	}
	return nil
}

// fromFlagForms returns a JSON object with values in the form of flags replaced by those of
// protobuf's JSON. What is not valid JSON is left to the decoder of the result.
func fromFlagForms(data []byte, fields protoreflect.FieldDescriptors) (out []byte, err error) {
	in := jsontext.NewDecoder(bytes.NewReader(data), jsontext.AllowDuplicateNames(true)) // the next decoder refuses them
	if _, err := in.ReadToken(); err != nil {
		return data, nil //nolint:nilerr // the next decoder says what is wrong
	}
	copied := 0
	for in.PeekKind() == '"' {
		name, _ := in.ReadToken()
		field := cmp.Or(fields.ByTextName(name.String()), fields.ByJSONName(name.String()))
		v, _ := in.ReadValue()
		if field == nil || v.Kind() != '"' { // of nothing after an error
			continue
		}
		text, _ := jsontext.AppendUnquote(nil, v)
		form, err := fromFlagForm(field, string(text))
		if err != nil {
			return nil, err
		}
		if end := int(in.InputOffset()); form != "" {
			out = append(append(out, data[copied:end-len(v)]...), form...)
			copied = end
		}
	}
	return append(out, data[copied:]...), nil
}

// fromFlagForm returns the value of a flag in protobuf's JSON, or "" if it needs no change. An
// error does not quote the value.
func fromFlagForm(f protoreflect.FieldDescriptor, text string) (string, error) {
	switch {
	case f.Enum() != nil:
		if i := slices.Index(SettingChoices(f), text); i >= 0 {
			return strconv.Itoa(int(f.Enum().Values().Get(i + 1).Number())), nil
		}
		if f.Enum().Values().ByName(protoreflect.Name(text)) == nil {
			return "", fmt.Errorf("%s: must be one of %s", f.Name(), strings.Join(SettingChoices(f), ", "))
		}
	case f.Message() != nil:
		d, err := time.ParseDuration(text)
		if err != nil {
			return "", fmt.Errorf("%s: must be a duration, such as 5ms or 1m30s", f.Name())
		}
		form, err := protojson.Marshal(durationpb.New(d))
		return string(form), err
	case f.Kind() == protoreflect.BoolKind && (text == "true" || text == "false"):
		return text, nil
	}
	return "", nil
}
