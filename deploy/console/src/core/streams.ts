// The kinds of stream, and the scope that live updates of one need.
export const SCOPE_OF_KIND: Record<string, string> = {
  orders: "queries:orders",
  products: "queries:catalog",
  customers: "queries:customers",
  payments: "queries:payments",
  bookings: "queries:bookings",
  doctors: "queries:bookings",
  patients: "queries:bookings",
  users: "queries:accounts",
  devices: "queries:devices",
};
