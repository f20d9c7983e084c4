// Which route of the query service shows the document of a kind of stream, and the scope that it needs.
export const KINDS: Record<string, { path: string; scope: string; at?: boolean }> = {
  orders: { path: "/orders/", scope: "queries:orders" },
  products: { path: "/products/", scope: "queries:catalog" },
  customers: { path: "/customers/", scope: "queries:customers" },
  payments: { path: "/payments/", scope: "queries:payments" },
  bookings: { path: "/bookings/", scope: "queries:bookings" },
  doctors: { path: "/doctors/", scope: "queries:bookings" },
  patients: { path: "/patients/", scope: "queries:bookings" },
  users: { path: "/users/", scope: "queries:accounts", at: true },
  devices: { path: "/devices/", scope: "queries:devices" },
};
