package kafka

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"strings"
	"time"
)

// withDoors adds the listeners for who comes in by the wrong one to a configuration.
func (b *Broker) withDoors(properties string) (string, error) {
	chain, key, err := certificate()
	if err != nil {
		return "", err
	}
	scram, tls := b.Scram(), b.TLS()
	var all strings.Builder
	for line := range strings.Lines(properties) {
		line = strings.TrimSuffix(line, "\n")
		switch name, _, _ := strings.Cut(line, "="); name {
		case "listeners", "advertised.listeners":
			line += fmt.Sprintf(",SCRAM://%s,TLS://%s", scram, tls)
		case "listener.security.protocol.map":
			line += ",SCRAM:SASL_PLAINTEXT,TLS:SSL"
		case "sasl.enabled.mechanisms":
			line += "\nlistener.name.scram.sasl.enabled.mechanisms=SCRAM-SHA-256" +
				"\nlistener.name.scram.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;"
		}
		all.WriteString(line + "\n")
	}
	lines := func(text string) string { return strings.ReplaceAll(strings.TrimSpace(text), "\n", " \\\n") }
	fmt.Fprintf(&all, "listener.name.tls.ssl.keystore.type=PEM\nlistener.name.tls.ssl.keystore.certificate.chain=%s\nlistener.name.tls.ssl.keystore.key=%s\n", lines(chain), lines(key))
	return all.String(), nil
}

// certificate is one for 127.0.0.1 that it signed itself, and its key, as PEM.
func certificate() (chain, key string, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", err
	}
	of := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "127.0.0.1"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, of, of, &private.PublicKey, private)
	if err != nil {
		return "", "", err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return "", "", err
	}
	text := func(kind string, bytes []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: bytes}))
	}
	return text("CERTIFICATE", der), text("PRIVATE KEY", pkcs8), nil
}
