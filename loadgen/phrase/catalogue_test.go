package phrase

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// speakers are the packages whose sentences have translations.
var speakers = []string{"../report", "../plausibility", ".."}

// says is which argument of a call is an English format.
var says = map[string]int{"phrase.Say": 0, "phrase.Term": 0, "phrase.Count": 2, ".line": 0}

// spoken is what the source says.
type spoken struct {
	formats map[string]token.Position // that must have a translation
	strings map[string]bool           // every text, said or not
	odd     []token.Position          // calls whose format is not to be read here
}

func listen(t *testing.T) spoken {
	t.Helper()
	s := spoken{map[string]token.Position{}, map[string]bool{}, nil}
	files := token.NewFileSet()
	for _, dir := range speakers {
		paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil || len(paths) == 0 {
			t.Fatalf("%s: %v", dir, err)
		}
		for _, path := range paths {
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			file, err := parser.ParseFile(files, path, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(file, func(n ast.Node) bool {
				if f, ok := n.(*ast.FuncDecl); ok && f.Name.Name == "line" {
					return false // says what it is given
				}
				s.hear(files, n)
				return true
			})
		}
	}
	return s
}

func (s *spoken) hear(files *token.FileSet, n ast.Node) {
	switch n := n.(type) {
	case ast.Expr:
		if text, ok := constant(n); ok {
			s.strings[text] = true
		}
		if call, ok := n.(*ast.CallExpr); ok {
			s.call(files, call)
		}
	case *ast.ValueSpec: // the heads of tables
		for i, name := range n.Names {
			if strings.HasSuffix(name.Name, "Head") && i < len(n.Values) {
				s.list(files, n.Values[i])
			}
		}
	}
}

func (s *spoken) call(files *token.FileSet, call *ast.CallExpr) {
	at, known := says[called(call)]
	if !known {
		if called(call) == ".table" && len(call.Args) > 0 {
			s.list(files, call.Args[0])
		}
		return
	}
	if at >= len(call.Args) {
		return
	}
	text, ok := constant(call.Args[at])
	if !ok {
		if called(call) != "phrase.Term" { // terms may come from a list that is heard elsewhere
			s.odd = append(s.odd, files.Position(call.Pos()))
		}
		return
	}
	s.formats[text] = files.Position(call.Pos())
}

func (s *spoken) list(files *token.FileSet, e ast.Expr) {
	list, ok := e.(*ast.CompositeLit)
	if !ok {
		return
	}
	for _, e := range list.Elts {
		if text, ok := constant(e); ok && text != "" {
			s.formats[text] = files.Position(e.Pos())
		}
	}
}

// called names a function of package phrase, or a method by its name alone.
func called(call *ast.CallExpr) string {
	f, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return ""
	}
	if x, ok := f.X.(*ast.Ident); ok && x.Name == "phrase" {
		return "phrase." + f.Sel.Name
	}
	return "." + f.Sel.Name
}

// constant is the text of a literal, or of several that are joined.
func constant(e ast.Expr) (string, bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		text, err := strconv.Unquote(e.Value)
		return text, e.Kind == token.STRING && err == nil
	case *ast.BinaryExpr:
		a, aOK := constant(e.X)
		b, bOK := constant(e.Y)
		return a + b, aOK && bOK
	}
	return "", false
}

var wordy = regexp.MustCompile(`[A-Za-z]{2}`)

func TestEverySentenceHasATranslation(t *testing.T) {
	s := listen(t)
	if len(s.formats) < 150 {
		t.Fatalf("only %d sentences were found", len(s.formats))
	}
	verb := regexp.MustCompile(`%[-+0-9.]*(\[\d+\])?[a-zA-Z%]`)
	for format, at := range s.formats {
		if wordy.MatchString(verb.ReplaceAllString(format, "")) && !Chinese.Translated(format) {
			t.Errorf("%v: chinese.go has no translation of\n\t%q: \"\",", at, format)
		}
	}
	for _, at := range s.odd {
		t.Errorf("%v: the format is not a literal, so that nobody can say whether it has a translation", at)
	}
}

func TestNoTranslationIsLeftOver(t *testing.T) {
	s := listen(t)
	for _, format := range stored {
		s.strings[format] = true
	}
	for format := range chinese {
		if !s.strings[format] {
			t.Errorf("chinese.go translates what nobody says: %q", format)
		}
	}
}
