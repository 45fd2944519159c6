// SPDX-License-Identifier: Apache-2.0

package ovsdb_test

import (
	"context"
	"fmt"
	"log"
	"net"

	"nagare/ovsdb"
	"nagare/ovsdb/ovsdbtest"
)

// A controller accepts a switch's manager connection, mirrors it, and adds a bridge.
func Example() {
	ctx := context.Background()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	defer listener.Close()
	node := ovsdbtest.New(ovsdbtest.Options{}) // stands for ovs-vsctl set-manager tcp:...
	defer node.Close()
	if err := node.Dial("tcp", listener.Addr().String()); err != nil {
		log.Fatal(err)
	}

	conn, err := listener.Accept()
	if err != nil {
		log.Fatal(err)
	}
	session := ovsdb.NewSession(conn, ovsdb.Options{})
	defer session.Close()
	mirror := ovsdb.NewMirror("Open_vSwitch", ovsdb.SwitchTables())
	if err := session.Monitor(ctx, mirror); err != nil {
		log.Fatal(err)
	}
	mirror.Take() // the initial batch: the Open_vSwitch row

	txn := ovsdb.NewTxn("Open_vSwitch")
	iface := txn.Insert("Interface", ovsdb.Fields{"name": ovsdb.String("br-int"), "type": ovsdb.String("internal")})
	port := txn.Insert("Port", ovsdb.Fields{"name": ovsdb.String("br-int"), "interfaces": iface})
	bridge := txn.Insert("Bridge", ovsdb.Fields{"name": ovsdb.String("br-int"), "ports": port, "fail_mode": ovsdb.String("secure")})
	txn.Mutate("Open_vSwitch", ovsdb.All(), ovsdb.Add("bridges", bridge))
	result, err := session.Commit(ctx, txn)
	if err != nil {
		log.Fatal(err)
	}
	row := mirror.Row("Bridge", result.UUID(bridge)) // there already: the update precedes the reply
	fmt.Println(row.String("name"), row.String("fail_mode"), len(row.UUIDs("ports")))

	for { // ovs-vswitchd answers with a port number
		if _, i := mirror.Find("Interface", "name", ovsdb.String("br-int")); i.Has("ofport") {
			n, _ := i.Int("ofport")
			fmt.Println("ofport", n)
			return
		}
		if _, err := mirror.Next(ctx); err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// br-int secure 1
	// ofport 65534
}
