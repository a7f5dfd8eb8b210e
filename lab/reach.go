package lab

import (
	"encoding/json"
	"fmt"
	"os"

	"breakwater/internal/objectstore/s3"
	"breakwater/lab/inventory"

	"go.temporal.io/sdk/client"
)

// Storage is how the laboratory's own administrator reaches a place's object
// store: for faults and for judging, never for the product.
func (l *Lab) Storage(place string) s3.Config {
	root := l.secret(place, rootUser)
	return s3.Config{
		Endpoint: "http://" + l.addr("minio-"+place), Region: place,
		AccessKey: root.AccessKey, SecretKey: root.SecretKey, PathStyle: true,
	}
}

// KafkaAdmin is the address of a region's broker at which whoever connects is
// its administrator.
func (l *Lab) KafkaAdmin(region string) string { return l.brokerAddrs(region).Admin }

// Servers is how an inventory reaches the servers of both regions, and the Schedules. The
// ledger's place is none of them: a run writes there what it does.
func (l *Lab) Servers(temporal client.Client, python string) (inventory.World, error) {
	w := inventory.World{Temporal: temporal, Namespace: namespace, Python: python}
	for _, region := range Regions() {
		token, err := l.rootToken(region)
		if err != nil {
			return w, err
		}
		c := l.Storage(region)
		p := inventory.Place{
			Name: region, Broker: l.KafkaAdmin(region),
			Vault:   &inventory.Vault{Address: "http://" + l.addr("bao-"+region), Token: token},
			Storage: &inventory.Storage{Endpoint: c.Endpoint, Region: c.Region, AccessKey: c.AccessKey, SecretKey: c.SecretKey, Buckets: []string{buckets()[region]}},
		}
		for _, g := range groups() {
			for _, t := range g.tables {
				p.Storage.Tables = append(p.Storage.Tables, "s3://"+buckets()[region]+"/"+g.path(t))
			}
		}
		if region == Standby {
			p.Connect = l.connectURL()
		}
		w.Places = append(w.Places, p)
	}
	return w, nil
}

// rootToken is what OpenBao's root comes in with.
func (l *Lab) rootToken(region string) (string, error) {
	text, err := os.ReadFile(l.path("data", "bao-"+region, "init.json"))
	if err != nil {
		return "", fmt.Errorf("read the root token of OpenBao in %s: %w", region, err)
	}
	var keys struct {
		Root string `json:"root_token"`
	}
	if err := json.Unmarshal(text, &keys); err != nil {
		return "", fmt.Errorf("read the root token of OpenBao in %s: %w", region, err)
	}
	return keys.Root, nil
}
