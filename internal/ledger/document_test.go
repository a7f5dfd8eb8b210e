package ledger_test

import (
	"bytes"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"breakwater/internal/ledger"
	"breakwater/internal/sshsig"
)

var docBody = []byte(`{"change":{"data":{"to":7}}}` + "\n")

// sealed is docBody under planDoc, as key n signs it.
func sealed(tb testing.TB, n byte) []byte {
	tb.Helper()
	data, err := ledger.SealDoc(signer(tb, n), planDoc, docBody)
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

// badTrailers are ways in which what lies under planDoc is not what key 1 signed for it.
func badTrailers(tb testing.TB) map[string]struct {
	data []byte
	want error
} {
	tb.Helper()
	good := sealed(tb, 1)
	trailer := good[len(docBody):]
	moved, err := ledger.SealDoc(signer(tb, 1), innerDoc, docBody)
	if err != nil {
		tb.Fatal(err)
	}
	head, err := ledger.SignHead(signer(tb, 1), ledger.Head{Run: run, Seq: 1, Hash: ledger.Digest(docBody)})
	if err != nil {
		tb.Fatal(err)
	}
	type bad = struct {
		data []byte
		want error
	}
	return map[string]bad{
		"no trailer":                 {docBody, ledger.ErrUnsigned},
		"another key's":              {sealed(tb, 2), sshsig.ErrUnknownSigner},
		"another document's":         {moved, sshsig.ErrInvalid},
		"a head's":                   {slices.Concat(docBody, []byte("breakwater-signature: "+sshsig.Line(head.Signature)+"\n")), sshsig.ErrInvalid},
		"the body changed":           {bytes.Replace(good, []byte("7"), []byte("8"), 1), sshsig.ErrInvalid},
		"a line before the body":     {slices.Concat([]byte("\n"), good), sshsig.ErrInvalid},
		"a line after the body":      {slices.Concat(docBody, []byte("\n"), trailer), sshsig.ErrInvalid},
		"the trailer twice":          {slices.Concat(good, trailer), sshsig.ErrInvalid},
		"its newline is gone":        {good[:len(good)-1], sshsig.ErrMalformed},
		"cut off in the signature":   {good[:len(good)-40], sshsig.ErrMalformed},
		"cut off, with a newline":    {slices.Concat(good[:len(good)-40], []byte("\n")), sshsig.ErrMalformed},
		"cut off in its first word":  {good[:len(docBody)+5], ledger.ErrUnsigned},
		"something after it":         {slices.Concat(good, []byte("more\n")), ledger.ErrUnsigned},
		"an empty trailer":           {slices.Concat(docBody, []byte("breakwater-signature: \n")), sshsig.ErrMalformed},
		"nothing at all":             {nil, ledger.ErrUnsigned},
		"a trailer without its body": {trailer, sshsig.ErrInvalid},
	}
}

func TestDocumentIsBelievedByItsSignature(t *testing.T) {
	trusted := []sshsig.Key{sshsig.Public(signer(t, 9)), sshsig.Public(signer(t, 1))}
	body, by, err := ledger.OpenDoc(planDoc, sealed(t, 1), trusted)
	if err != nil || !bytes.Equal(body, docBody) || !by.Equal(trusted[1]) {
		t.Errorf("a good document is %q by %s, %v", body, by, err)
	}
	for name, tc := range badTrailers(t) {
		if body, _, err := ledger.OpenDoc(planDoc, tc.data, trusted); !errors.Is(err, tc.want) {
			t.Errorf("%s: %q, %v; want %v", name, body, err, tc.want)
		}
	}
	for name, body := range map[string][]byte{"no newline": []byte("{}"), "nothing": nil, "a signed one": sealed(t, 2)} {
		if data, err := ledger.SealDoc(signer(t, 1), planDoc, body); err == nil {
			t.Errorf("signed %s: %q", name, data)
		}
	}
}

// ssh-keygen verifies a document: who audits a ledger needs nothing of ours.
func TestDocumentVerifiesWithOpenSSH(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	key := signer(t, 1)
	_, trailer, _ := strings.Cut(strings.TrimSpace(string(sealed(t, 1))), "\nbreakwater-signature: ")
	allowed := write("allowed", "worker "+sshsig.Public(key).String()+"\n")
	sig := write("sig", "-----BEGIN SSH SIGNATURE-----\n"+trailer+"\n-----END SSH SIGNATURE-----\n")
	text := "Breakwater document, version 1\nkey: \"" + planDoc + "\"\nsha256: " + ledger.Digest(docBody) + "\n"
	keygen(t, text, "-Y", "verify", "-f", allowed, "-I", "worker", "-n", ledger.DocNamespace, "-s", sig)
}

// Verify holds a document's signature where it has one: ledgers of before have none.
func TestVerifyHoldsSignaturesOfDocuments(t *testing.T) {
	key := signer(t, 1)
	whole := evidence(t, key, 0)
	for _, doc := range []string{planDoc, indexDoc, innerDoc, undoDoc} {
		body := ledger.DocBody(whole[doc])
		seal := func(n byte, as string) []byte {
			data, err := ledger.SealDoc(signer(t, n), as, body)
			if err != nil {
				t.Fatal(err)
			}
			return data
		}
		for name, tc := range map[string]struct {
			data  []byte
			wrong ledger.Wrong
		}{
			"no signature":                     {body, ""},
			"a stranger's signature":           {seal(3, doc), ledger.DocForged},
			"another document's signature":     {seal(1, ledger.DocKey(run, "x", "y", 1, "z")), ledger.DocForged},
			"a signature that is cut off":      {whole[doc][:len(whole[doc])-9], ledger.DocForged},
			"its signature twice":              {slices.Concat(whole[doc], whole[doc][len(body):]), ledger.DocChanged},
			"another body under its signature": {slices.Concat([]byte(" "), whole[doc]), ledger.DocChanged},
		} {
			o := maps.Clone(whole)
			o[doc] = tc.data
			res, err := ledger.Verify(t.Context(), o, run, []sshsig.Key{sshsig.Public(key)})
			switch {
			case err != nil:
				t.Fatal(err)
			case tc.wrong == "" && res.Fault != nil, tc.wrong != "" && (res.Fault == nil || res.Fault.Wrong != tc.wrong || res.Fault.Key != doc):
				t.Errorf("%s with %s: fault %v, want %q", doc, name, res.Fault, tc.wrong)
			}
		}
	}
}

func FuzzOpenDoc(f *testing.F) {
	for _, tc := range badTrailers(f) {
		f.Add(tc.data)
	}
	f.Add(sealed(f, 1))
	trusted := []sshsig.Key{sshsig.Public(signer(f, 1))}
	f.Fuzz(func(t *testing.T, data []byte) {
		body, by, err := ledger.OpenDoc(planDoc, data, trusted)
		if !bytes.HasPrefix(data, body) || !bytes.Equal(body, ledger.DocBody(data)) {
			t.Fatalf("%q is the body of %q", body, data)
		}
		if err == nil && (!bytes.Equal(body, docBody) || !by.Equal(trusted[0])) {
			t.Errorf("%q is believed, which nobody signed", data)
		}
		if bytes.HasSuffix(data, []byte("\n")) && errors.Is(err, ledger.ErrUnsigned) {
			again, err := ledger.SealDoc(signer(t, 1), planDoc, data)
			if err != nil {
				t.Fatal(err)
			}
			if body, _, err := ledger.OpenDoc(planDoc, again, trusted); err != nil || !bytes.Equal(body, data) {
				t.Errorf("%q is signed and read as %q, %v", data, body, err)
			}
		}
	})
}

// TestSpeedOfDocuments is what signatures cost a run of 100,000 items, in processor time:
// one for each item at each phase. It is part of make bench alone.
func TestSpeedOfDocuments(t *testing.T) {
	if os.Getenv("BREAKWATER_BENCH") == "" {
		return
	}
	const documents, most = 100_000, 10 * time.Second
	key, body := signer(t, 1), slices.Concat(bytes.Repeat([]byte("x"), 2<<10), docBody)
	trusted := []sshsig.Key{sshsig.Public(key)}
	data, err := ledger.SealDoc(key, planDoc, body)
	if err != nil {
		t.Fatal(err)
	}
	took := map[string]time.Duration{}
	for doing, do := range map[string]func() error{
		"sign":    func() error { _, err := ledger.SealDoc(key, planDoc, body); return err },
		"believe": func() error { _, _, err := ledger.OpenDoc(planDoc, data, trusted); return err },
	} {
		before := processor(t)
		for range documents {
			if err := do(); err != nil {
				t.Fatal(err)
			}
		}
		took[doing] = processor(t) - before
	}
	t.Logf("%d documents of %d bytes: signed in %.1f s of processor time, believed in %.1f s", documents, len(body), took["sign"].Seconds(), took["believe"].Seconds())
	if took["sign"] >= most {
		t.Errorf("signing took %s of processor time, and may take %s", took["sign"], most)
	}
}

// processor is the time that this process has had.
func processor(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
